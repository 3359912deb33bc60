import { encoder } from "../byte-level.js";
import type { TokenBuffer } from "../token-buffer.js";
import { createVocabulary, textOfUnits, type Vocabulary } from "../vocabulary.js";
import { byUnits } from "./by-units.js";
import { byteTokenName } from "./byte-fallback.js";
import type { CompiledModel } from "./compiled.js";
import type { CompiledAlgorithm, PutPiece, SentencePieceModel } from "./sentencepiece-pieces.js";

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
  const { vocabulary, byteIds, createWriter } = readPieces(model);
  return {
    vocabulary,
    tokenizeBytes: null,
    createCuts: createCuts && (() => createCuts(byteIds)),
    createByteCuts: null,
    ...byUnits((units, start, end, out) => {
      const { put, finish } = createWriter(units, start, out);
      segment(units, start, end, put);
      finish();
    }),
  };
}

/** The vocabulary of a model and the way to write a segmentation as tokens. */
export interface WritablePieces {
  readonly vocabulary: Vocabulary;
  /** Ids of the bytes that unknown text becomes; null: it becomes unknown tokens. */
  readonly byteIds: readonly number[] | null;
  /** Appends the tokens of a word that begins at `start`, piece by piece; `finish` comes behind the last. */
  readonly createWriter: (
    units: Uint16Array,
    start: number,
    out: TokenBuffer,
  ) => { readonly put: PutPiece; readonly finish: () => void };
}

/** Prepares what all four algorithms share: pieces by name, bytes, and how a segmentation becomes tokens. */
export function readPieces(model: SentencePieceModel): WritablePieces {
  const { unkId, pieces } = model;
  const vocabulary = createVocabulary(pieces.map(({ piece }, id) => [piece, id]));
  const idOfByte = (_: unknown, byte: number) => vocabulary.idOf(byteTokenName(byte)) ?? unkId;
  const byteIds = model.byteFallback ? Array.from({ length: 256 }, idOfByte) : null;
  return {
    vocabulary,
    byteIds,
    createWriter(units, word, out) {
      const slice = (start: number, end: number) => textOfUnits(units, word + start, word + end);
      let unknownFrom = -1;
      let unknownTo = -1;
      const finish = (): void => {
        if (unknownFrom < 0) return;
        out.pushSurface(unkId, [unknownFrom, unknownTo], slice(unknownFrom, unknownTo));
        unknownFrom = -1;
      };
      const put: PutPiece = (id, start, end) => {
        if (id >= 0 && id !== unkId) {
          finish();
          out.push(id, start, end);
        } else if (byteIds !== null) {
          const bytes = encoder.encode(slice(start, end));
          for (const [i, byte] of bytes.entries())
            out.push(byteIds[byte] as number, start, i === bytes.length - 1 ? end : start);
        } else {
          if (unknownFrom < 0) unknownFrom = start;
          unknownTo = end;
        }
      };
      return { put, finish };
    },
  };
}
