import { type PieceTrie, trieOf } from "../piece-trie.js";
import { textOfUnits } from "../vocabulary.js";
import type { WordCuts } from "../word-cuts.js";
import type { Segmenter } from "./unigram.js";

/** What a piece of a SentencePiece model is for. */
export type PieceKind = "normal" | "unknown" | "control" | "userDefined" | "unused" | "byte";

/** One entry of a SentencePiece vocabulary; its index is its id. */
export interface Piece {
  readonly piece: string;
  /** float32 */
  readonly score: number;
  readonly kind: PieceKind;
}

/** The vocabulary and segmentation of a SentencePiece model file. */
export interface SentencePieceModel {
  readonly type: "SentencePiece";
  readonly algorithm: "unigram" | "bpe" | "word" | "char";
  readonly pieces: readonly Piece[];
  readonly unkId: number;
  readonly byteFallback: boolean;
  readonly treatWhitespaceAsSuffix: boolean;
}

/** Gets pieces from left to right; id -1 for what the vocabulary does not hold. */
export type PutPiece = (id: number, start: number, end: number) => void;

/** One of the four algorithms, ready to run on a vocabulary. */
export interface CompiledAlgorithm {
  /** Cuts units [start, end); ranges are in units of the word. */
  readonly segment: (units: Uint16Array, start: number, end: number, put: PutPiece) => void;
  /** As in CompiledModel. Characters that are no piece become these bytes; null: they are for the model. */
  readonly createCuts: ((byteIds: readonly number[] | null) => WordCuts) | null;
}

/** An algorithm that cuts strings, which depends on all of a word. */
export function byText(segment: Segmenter): CompiledAlgorithm {
  return {
    segment(units, from, to, put) {
      for (const { id, start, end } of segment(textOfUnits(units, from, to))) put(id, start, end);
    },
    createCuts: null,
  };
}

/** A trie of the symbols that are never cut. */
export function userDefinedTrie(pieces: readonly Piece[]): PieceTrie {
  return trieOf(pieces.filter(({ kind }) => kind === "userDefined").map(({ piece }) => piece));
}
