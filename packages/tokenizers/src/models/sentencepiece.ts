import { encoder } from "../byte-level.js";
import type { TokenBuffer } from "../token-buffer.js";
import { createVocabulary } from "../vocabulary.js";
import { byteTokenName } from "./byte-fallback.js";
import type { CompiledModel } from "./compiled.js";
import type { CompiledAlgorithm, Piece, SentencePieceModel } from "./sentencepiece-pieces.js";
import type { UnigramTables } from "./unigram.js";
import type { PathPiece } from "./unigram-lattice.js";

/**
 * Prepares a SentencePiece model that cuts text by one of the four algorithms.
 *
 * Unknown text becomes its bytes (byte fallback), the last of which carries the place in the original, or one unknown
 * token for each unbroken stretch, as in the C++ library.
 *
 * @see Kudo and Richardson 2018, SentencePiece, arXiv:1808.06226; sentencepiece_processor.cc
 */
export function compileSentencePieceModel(
  model: SentencePieceModel,
  { segment, createCuts }: CompiledAlgorithm,
): CompiledModel {
  const { vocabulary, emit } = readPieces(model);
  return {
    vocabulary,
    tokenizeBytes: null,
    createCuts,
    createByteCuts: null,
    tokenize: (text, out) => emit(text, segment(text), out),
  };
}

/** The vocabulary of a model and the way to write a segmentation as tokens. */
export function readPieces(model: SentencePieceModel): Omit<UnigramTables, "lattice"> {
  const vocabulary = createVocabulary(uniquePieces(model.pieces));
  const byteIds = Array.from(
    { length: 256 },
    (_, byte) => vocabulary.idOf(byteTokenName(byte)) ?? model.unkId,
  );
  const emit = (text: string, path: readonly PathPiece[], out: TokenBuffer): void => {
    let unknownFrom = -1;
    let unknownTo = -1;
    const flush = (): void => {
      if (unknownFrom < 0) return;
      out.pushSurface(model.unkId, [unknownFrom, unknownTo], text.slice(unknownFrom, unknownTo));
      unknownFrom = -1;
    };
    for (const { id, start, end } of path) {
      if (id >= 0 && id !== model.unkId) {
        flush();
        out.push(id, start, end);
      } else if (model.byteFallback) {
        pushBytes(out, { text, start, end, byteIds });
      } else {
        if (unknownFrom < 0) unknownFrom = start;
        unknownTo = end;
      }
    }
    flush();
  };
  return { vocabulary, emit };
}

function* uniquePieces(pieces: readonly Piece[]): Generator<[string, number]> {
  for (const [id, { piece }] of pieces.entries()) yield [piece, id];
}

function pushBytes(
  out: TokenBuffer,
  span: {
    readonly text: string;
    readonly start: number;
    readonly end: number;
    readonly byteIds: readonly number[];
  },
): void {
  const { text, start, end, byteIds } = span;
  const bytes = encoder.encode(text.slice(start, end));
  for (const [i, byte] of bytes.entries()) {
    out.push(byteIds[byte] as number, start, i === bytes.length - 1 ? end : start);
  }
}
