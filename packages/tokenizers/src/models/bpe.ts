import { BYTE_CHARACTERS } from "../byte-level.js";
import { HeddleError } from "../error.js";
import type { TokenBuffer } from "../token-buffer.js";
import { encodeUnits, pairLength } from "../utf8-units.js";
import { idOfBytes, type PackedTokens, textOfUnits, type Vocabulary } from "../vocabulary.js";
import { createByteCuts, type WordCuts } from "../word-cuts.js";
import type { BpeModel } from "./bpe-model.js";
import { byUnits } from "./by-units.js";
import { byteTokens } from "./byte-fallback.js";
import { CharacterIds } from "./character-ids.js";
import type { CompiledModel } from "./compiled.js";
import { Merger } from "./merge.js";
import { MergeTable } from "./merge-table.js";
import { packBpe } from "./packed-bpe.js";
import type { Sampling } from "./sampling.js";

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
 * @param cutText  cuts words that are not given as bytes (`createLoneCuts`); null: they stay whole
 * @throws HeddleError "format" if a merge or its result is not in the vocabulary, or the unknown token is not
 */
export function compileBpe(
  model: BpeModel,
  sampling: Sampling | null = null,
  cutText: ((packed: PackedTokens, byteIds: readonly number[] | null) => WordCuts) | null = null,
): CompiledModel {
  const { vocabulary, merges, slots } = packBpe(model);
  const merger = new Merger(new MergeTable(merges, "number", slots), sampling);
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
  const tokenizeUnits = (word: Uint16Array, start: number, end: number, out: TokenBuffer): void => {
    const whole = takesWhole ? vocabulary.idOfUnits(word, start, end) : -1;
    if (whole >= 0) {
      out.push(whole, 0, end - start);
      return;
    }
    merger.clear();
    symbols.read(word, start, end, merger);
    merger.merge(out);
  };
  const canCut = symbols.isPlain && sampling === null;
  return {
    vocabulary,
    tokenizeBytes: symbols.byteSymbols === null ? null : tokenizeBytes(symbols.byteSymbols),
    createCuts:
      canCut && cutText !== null ? () => cutText(vocabulary.packed, symbols.loneBytes(merges)) : null,
    createByteCuts: canCut && symbols.byteSymbols !== null ? () => createByteCuts(vocabulary.packed) : null,
    ...byUnits(tokenizeUnits),
  };
}

/** Finds the first symbols of a word: characters, their bytes, or the unknown token. */
class SymbolReader {
  private readonly unkId: number | null;
  private readonly byteIds: readonly number[] | null;
  private readonly characters: CharacterIds;
  /** Ids of the 256 bytes in the byte alphabet; null if one is missing or symbols depend on their place. */
  readonly byteSymbols: Int32Array | null;
  /** True if symbols are the characters themselves, whatever their place in the word. */
  readonly isPlain: boolean;

  constructor(
    private readonly model: BpeModel,
    private readonly vocabulary: Vocabulary,
  ) {
    this.characters = new CharacterIds(vocabulary);
    this.unkId = requireUnknown(model.unkToken, vocabulary);
    this.byteIds = model.byteFallback ? byteTokens(vocabulary) : null;
    this.isPlain = !model.continuingSubwordPrefix && !model.endOfWordSuffix;
    const ids = Int32Array.from(BYTE_CHARACTERS, (char) => vocabulary.idOf(char) ?? -1);
    this.byteSymbols = this.isPlain && !ids.includes(-1) ? ids : null;
  }

  /** Gives the symbols of units [start, end) to the merger; ranges are in units of the word. */
  read(units: Uint16Array, start: number, end: number, merger: Merger): void {
    const { byteIds, unkId, isPlain, characters } = this;
    /** Where the unknown characters before this one begin; -1: there are none. */
    let unknown = -1;
    for (let at = start; at < end; ) {
      const next = at + pairLength(units, at, end);
      const id = isPlain
        ? characters.idOf(units, at, next)
        : this.idOfAffixed(textOfUnits(units, at, next), at === start, next === end);
      const isUnknown = id < 0 && byteIds === null && unkId !== null;
      if (unknown >= 0 && unkId !== null && !(isUnknown && this.model.fuseUnk)) {
        merger.add(unkId, unknown, at - start);
        unknown = -1;
      }
      if (isUnknown && unknown < 0) unknown = at - start;
      if (id >= 0) merger.add(id, at - start, next - start);
      else if (byteIds !== null) {
        const length = encodeUnits(units, at, next, scratch);
        for (let i = 0; i < length; i++)
          merger.add(byteIds[scratch[i] as number] as number, at - start, next - start);
      }
      at = next;
    }
    if (unknown >= 0 && unkId !== null) merger.add(unkId, unknown, end - start);
  }

  private idOfAffixed(char: string, isFirst: boolean, isLast: boolean): number {
    const prefix = isFirst ? "" : (this.model.continuingSubwordPrefix ?? "");
    const suffix = isLast ? (this.model.endOfWordSuffix ?? "") : "";
    return this.vocabulary.idOf(prefix + char + suffix) ?? -1;
  }

  /** Ids of the bytes that a character becomes which is in no token, if they never merge; else null. */
  loneBytes(merges: Int32Array): readonly number[] | null {
    const bytes = new Set(this.byteIds);
    return merges.some((id, i) => i % 3 < 2 && bytes.has(id)) ? null : this.byteIds;
  }
}

const scratch = new Uint8Array(6);

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
