import { codePointLength } from "../aligned-text.js";
import { BYTE_CHARACTERS } from "../byte-level.js";
import { HeddleError } from "../error.js";
import type { TokenBuffer } from "../token-buffer.js";
import { encodeCodePoint } from "../utf8-units.js";
import { idOfBytes, type PackedTokens, type Vocabulary } from "../vocabulary.js";
import { createByteCuts, type WordCuts } from "../word-cuts.js";
import { byteTokens } from "./byte-fallback.js";
import { Merger } from "./merge.js";
import { MergeTable } from "./merge-table.js";
import type { CompiledModel } from "./model.js";
import { packBpe } from "./packed-bpe.js";
import type { Sampling } from "./sampling.js";

/** Byte-pair encoding over the characters of a word. */
export interface BpeModel {
  readonly type: "BPE";
  /** (token, id) in ascending order of id. */
  readonly vocab: readonly (readonly [string, number])[];
  /** Pairs in order of rank. */
  readonly merges: readonly (readonly [string, string])[];
  readonly unkToken: string | null;
  readonly continuingSubwordPrefix: string | null;
  readonly endOfWordSuffix: string | null;
  /** Neighbouring unknown characters become one token. */
  readonly fuseUnk: boolean;
  /** Unknown characters become their UTF-8 bytes, tokens `<0x00>` to `<0xFF>`. */
  readonly byteFallback: boolean;
  /** A word that is in the vocabulary is taken whole. */
  readonly ignoreMerges: boolean;
  /** Probability that a possible merge is passed over, drawn anew for each text; absent or null: none. */
  readonly dropout?: number | null;
}

/** The fields of a model that merges and does nothing else. */
export const PLAIN_BPE = {
  type: "BPE",
  unkToken: null,
  continuingSubwordPrefix: null,
  endOfWordSuffix: null,
  fuseUnk: false,
  byteFallback: false,
  ignoreMerges: false,
} as const;

/**
 * Prepares byte-pair encoding.
 *
 * @param sampling  passes over merges by chance; null: never
 * @param cutText  cuts words that are not given as bytes (`createWordCuts`); null: they stay whole
 * @throws HeddleError "format" if a merge or its result is not in the vocabulary, or the unknown token is not
 */
export function compileBpe(
  model: BpeModel,
  sampling: Sampling | null = null,
  cutText: ((packed: PackedTokens, cutsUnknown: boolean) => WordCuts) | null = null,
): CompiledModel {
  const { vocabulary, merges, slots } = packBpe(model);
  const merger = new Merger(new MergeTable(merges, null, slots), sampling);
  const takesWhole = model.ignoreMerges && sampling === null;
  const symbols = new SymbolReader(model, vocabulary);
  const tokenizeBytes =
    (byteSymbols: Int32Array) =>
    (bytes: Uint8Array, length: number, out: TokenBuffer): void => {
      const whole = takesWhole ? idOfBytes(vocabulary, bytes, length) : -1;
      if (whole >= 0) {
        out.push(whole, 0, length);
        return;
      }
      merger.clear();
      for (let at = 0; at < length; at++) merger.add(byteSymbols[bytes[at] as number] as number, at, at + 1);
      merger.merge(out);
    };
  const canCut = symbols.isPlain && sampling === null;
  return {
    vocabulary,
    tokenizeBytes: symbols.byteSymbols === null ? null : tokenizeBytes(symbols.byteSymbols),
    createCuts:
      canCut && cutText !== null ? () => cutText(vocabulary.packed, symbols.bytesStandAlone(merges)) : null,
    createByteCuts: canCut && symbols.byteSymbols !== null ? () => createByteCuts(vocabulary.packed) : null,
    tokenize(word, out) {
      const whole = takesWhole ? vocabulary.idOf(word) : undefined;
      if (whole !== undefined) {
        out.push(whole, 0, word.length);
        return;
      }
      merger.clear();
      symbols.read(word, merger);
      merger.merge(out);
    },
  };
}

/** Finds the first symbols of a word: characters, their bytes, or the unknown token. */
class SymbolReader {
  private readonly unkId: number | null;
  private readonly byteIds: readonly number[] | null;
  /** Ids of characters below U+0180, which covers the byte alphabet; -1: not in the vocabulary. */
  private readonly lowIds = new Int32Array(0x180).fill(-1);
  /** Ids of the 256 bytes in the byte alphabet; null if one is missing or symbols depend on their place. */
  readonly byteSymbols: Int32Array | null;
  /** True if symbols are the characters themselves, whatever their place in the word. */
  readonly isPlain: boolean;

  constructor(
    private readonly model: BpeModel,
    private readonly vocabulary: Vocabulary,
  ) {
    this.unkId = requireUnknown(model.unkToken, vocabulary);
    this.byteIds = model.byteFallback ? byteTokens(vocabulary) : null;
    for (let unit = 0; unit < this.lowIds.length; unit++) {
      this.lowIds[unit] = vocabulary.idOf(String.fromCharCode(unit)) ?? -1;
    }
    this.isPlain = !model.continuingSubwordPrefix && !model.endOfWordSuffix;
    const ids = Int32Array.from(BYTE_CHARACTERS, (char) => vocabulary.idOf(char) ?? -1);
    this.byteSymbols = this.isPlain && !ids.includes(-1) ? ids : null;
  }

  read(word: string, merger: Merger): void {
    let unknownFrom = -1;
    let unknownTo = -1;
    const flush = (): void => {
      if (unknownFrom >= 0 && this.unkId !== null) merger.add(this.unkId, unknownFrom, unknownTo);
      unknownFrom = -1;
    };
    for (let at = 0; at < word.length; ) {
      const end = at + codePointLength(word, at);
      const id = this.idAt(word, at, end);
      if (id >= 0) {
        flush();
        merger.add(id, at, end);
      } else if (!this.addBytes(word, { start: at, end }, merger) && this.unkId !== null) {
        if (unknownFrom >= 0 && !this.model.fuseUnk) flush();
        if (unknownFrom < 0) unknownFrom = at;
        unknownTo = end;
      }
      at = end;
    }
    flush();
  }

  private idAt(word: string, start: number, end: number): number {
    if (this.isPlain) {
      const unit = word.charCodeAt(start);
      return unit < 0x180
        ? (this.lowIds[unit] as number)
        : (this.vocabulary.idOf(word.slice(start, end)) ?? -1);
    }
    const prefix = start === 0 ? "" : (this.model.continuingSubwordPrefix ?? "");
    const suffix = end === word.length ? (this.model.endOfWordSuffix ?? "") : "";
    return this.vocabulary.idOf(prefix + word.slice(start, end) + suffix) ?? -1;
  }

  private addBytes(
    word: string,
    range: { readonly start: number; readonly end: number },
    merger: Merger,
  ): boolean {
    if (this.byteIds === null) return false;
    const length = encodeCodePoint(word.codePointAt(range.start) as number, scratch);
    for (let i = 0; i < length; i++) {
      merger.add(this.byteIds[scratch[i] as number] as number, range.start, range.end);
    }
    return true;
  }

  /** True if a character that is in no token becomes bytes that never merge. */
  bytesStandAlone(merges: Int32Array): boolean {
    if (this.byteIds === null) return false;
    const bytes = new Set(this.byteIds);
    return !merges.some((id, i) => i % 3 < 2 && bytes.has(id));
  }
}

const scratch = new Uint8Array(4);

/** Looks up the unknown token; null where the model has none. */
export function requireUnknown(unkToken: string | null, vocabulary: Vocabulary): number | null {
  if (unkToken === null) return null;
  const id = vocabulary.idOf(unkToken);
  if (id === undefined) {
    throw new HeddleError(
      "format",
      `compileModel: the unknown token must be in the vocabulary; got unkToken ${JSON.stringify(unkToken)}. Add it or set unk_token to null.`,
      { unkToken },
    );
  }
  return id;
}
