import { PieceTrie } from "../piece-trie.js";
import type { PathPiece } from "./unigram.js";

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

/** Cuts normalised text into pieces; id -1 for what the vocabulary does not hold. */
export type Segmenter = (text: string) => PathPiece[];

/** A trie of the symbols that are never cut. */
export function userDefinedTrie(pieces: readonly Piece[]): PieceTrie {
  const trie = new PieceTrie();
  for (const [id, { piece, kind }] of pieces.entries()) if (kind === "userDefined") trie.add(piece, id);
  return trie;
}
