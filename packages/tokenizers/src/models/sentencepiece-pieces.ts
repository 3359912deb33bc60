import { type PieceTrie, trieOf } from "../piece-trie.js";
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

/** One of the four algorithms, ready to run on a vocabulary. */
export interface CompiledAlgorithm {
  readonly segment: Segmenter;
  /** As in CompiledModel. */
  readonly createCuts: (() => WordCuts) | null;
}

/** A trie of the symbols that are never cut. */
export function userDefinedTrie(pieces: readonly Piece[]): PieceTrie {
  return trieOf(pieces.filter(({ kind }) => kind === "userDefined").map(({ piece }) => piece));
}
