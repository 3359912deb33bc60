import { createLoneCuts } from "../lone-characters.js";
import { longestPrefix } from "../piece-trie.js";
import { TokenBuffer } from "../token-buffer.js";
import { pairLength } from "../utf8-units.js";
import { createVocabulary, textOfUnits, type Vocabulary } from "../vocabulary.js";
import { CharacterIds } from "./character-ids.js";
import { Merger } from "./merge.js";
import { MergeTable } from "./merge-table.js";
import type { Sampling } from "./sampling.js";
import {
  type CompiledAlgorithm,
  type Piece,
  type PutPiece,
  type SentencePieceModel,
  userDefinedTrie,
} from "./sentencepiece-pieces.js";

/**
 * Prepares SentencePiece's byte-pair encoding: any two neighbours merge whose joined text is a piece, the piece of
 * greatest score first, of equals the leftmost. User-defined symbols never merge. Merges into unused pieces are
 * undone at the end.
 *
 * @see sentencepiece/src/bpe_model.cc
 */
export function compileSentencePieceBpe(
  model: SentencePieceModel,
  sampling: Sampling | null = null,
): CompiledAlgorithm {
  const { pieces } = model;
  const symbols = new SymbolTable(pieces);
  const characters = new CharacterIds(symbols.vocabulary);
  const merger = new Merger(symbols.mergeTable(), sampling);
  const hasFrozen = pieces.some(({ kind }) => kind === "userDefined");
  const userDefined = userDefinedTrie(pieces);
  const tokens = new TokenBuffer();
  return {
    segment(units, start, end, put) {
      merger.clear();
      tokens.clear();
      const text = hasFrozen ? textOfUnits(units, start, end) : "";
      for (let at = start; at < end; ) {
        const frozen = hasFrozen ? longestPrefix(userDefined, text, at - start) : 0;
        const next = at + (frozen || pairLength(units, at, end));
        const id = characters.idOf(units, at, next);
        merger.add(symbols.symbolOf(id, frozen > 0), at - start, next - start);
        at = next;
      }
      merger.merge(tokens);
      const { ids, starts, ends, length } = tokens;
      for (let i = 0; i < length; i++)
        symbols.put(ids[i] as number, starts[i] as number, ends[i] as number, put);
    },
    createCuts: sampling === null ? (byteIds) => createLoneCuts(symbols.vocabulary.packed, byteIds, 0) : null,
  };
}

/** The two symbols that an unused piece is made of, and how long the left one is. */
type Halves = readonly [left: number, right: number, length: number];

/**
 * Gives a number to every piece that may take part in merging. Numbers below the vocabulary's size are ids; characters
 * which only occur inside longer pieces come behind, and one number stands for all unknown characters.
 */
class SymbolTable {
  readonly vocabulary: Vocabulary;
  private readonly numIds: number;
  private readonly unknown: number;
  private readonly halves = new Map<number, Halves>();

  constructor(private readonly pieces: readonly Piece[]) {
    const numbers = new Map<string, number>();
    for (const [id, { piece, kind }] of pieces.entries())
      if (isPlain(kind) || kind === "userDefined") numbers.set(piece, id);
    numbers.delete("");
    let next = pieces.length;
    for (const { piece, kind } of pieces) {
      if (!isPlain(kind)) continue;
      for (const char of piece) if (!numbers.has(char)) numbers.set(char, next++);
    }
    this.vocabulary = createVocabulary(numbers);
    this.numIds = pieces.length;
    this.unknown = next;
  }

  /** The symbol of what has this number, -1: none. Frozen ones come behind all others, so that no merge finds them. */
  symbolOf(number: number, isFrozen: boolean): number {
    if (isFrozen) return this.unknown + 1 + number;
    return number < 0 ? this.unknown : number;
  }

  mergeTable(): MergeTable {
    const { pieces, vocabulary, halves } = this;
    const { units, starts } = vocabulary.packed;
    const merges: number[] = [];
    for (const [id, { kind }] of pieces.entries()) {
      // What is no symbol, or has the name of a later one, has no entry.
      const entry = vocabulary.entryOf(id);
      const start = starts[entry] as number;
      const end = starts[entry + 1] as number;
      for (let cut = start; entry >= 0 && cut < end; cut += pairLength(units, cut, end)) {
        const left = vocabulary.idOfUnits(units, start, cut);
        const right = left < 0 ? -1 : vocabulary.idOfUnits(units, cut, end);
        if (right < 0) continue;
        merges.push(left, right, id);
        if (kind === "unused" && !halves.has(id)) halves.set(id, [left, right, cut - start]);
      }
    }
    const byScore = [...new Set(pieces.map(({ score }) => score))].sort((a, b) => b - a);
    const rankOfScore = new Map(byScore.map((score, rank) => [score, rank]));
    const ranks = pieces.map(({ score }) => rankOfScore.get(score) as number);
    return new MergeTable(Int32Array.from(merges), Int32Array.from(ranks));
  }

  /** Puts the piece of a symbol; unused ones are taken apart again. */
  put(symbol: number, start: number, end: number, put: PutPiece): void {
    const { numIds, unknown, halves } = this;
    const parts = halves.get(symbol);
    if (parts === undefined) {
      put(symbol > unknown ? symbol - unknown - 1 : symbol < numIds ? symbol : -1, start, end);
      return;
    }
    const [left, right, length] = parts;
    this.put(left, start, start + length, put);
    this.put(right, start + length, end, put);
  }
}

const isPlain = (kind: Piece["kind"]): boolean => kind === "normal" || kind === "unused";
