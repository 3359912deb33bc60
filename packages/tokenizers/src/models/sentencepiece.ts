import { encoder } from "../text-coders.js";
import { TokenBuffer } from "../token-buffer.js";
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
  const { vocabulary, byteIds, writer } = readPieces(model);
  return {
    vocabulary,
    tokenizeBytes: null,
    createCuts: createCuts && (() => createCuts(byteIds)),
    createByteCuts: null,
    ...byUnits((units, start, end, out) => {
      writer.begin(units, start, out);
      segment(units, start, end, writer.put);
      writer.finish();
    }),
  };
}

/** What all four algorithms share. */
export interface WritablePieces {
  readonly vocabulary: Vocabulary;
  /** Ids of the bytes that unknown text becomes; null: it becomes unknown tokens. */
  readonly byteIds: readonly number[] | null;
  readonly writer: PieceWriter;
}

/** Prepares the pieces by name and the way to write a segmentation as tokens. */
export function readPieces(model: SentencePieceModel): WritablePieces {
  const { unkId, pieces } = model;
  const vocabulary = createVocabulary(pieces.map(({ piece }, id) => [piece, id]));
  const idOfByte = (_: unknown, byte: number) => vocabulary.idOf(byteTokenName(byte)) ?? unkId;
  const byteIds = model.byteFallback ? Array.from({ length: 256 }, idOfByte) : null;
  return { vocabulary, byteIds, writer: createWriter(unkId, byteIds) };
}

/** Appends the tokens of words, piece by piece. */
export interface PieceWriter {
  /** Sets where a word begins and where its tokens go. */
  begin(units: Uint16Array, word: number, out: TokenBuffer): void;
  readonly put: PutPiece;
  /** Comes behind the last piece of a word. */
  readonly finish: () => void;
}

function createWriter(unkId: number, byteIds: readonly number[] | null): PieceWriter {
  let units: Uint16Array = new Uint16Array(0);
  let word = 0;
  let out = new TokenBuffer();
  /** Where the unknown text that was put last begins; -1: there is none. */
  let unknownFrom = -1;
  let unknownTo = -1;
  const slice = (start: number, end: number) => textOfUnits(units, word + start, word + end);
  const finish = (): void => {
    if (unknownFrom < 0) return;
    out.pushSurface(unkId, [unknownFrom, unknownTo], slice(unknownFrom, unknownTo));
    unknownFrom = -1;
  };
  return {
    begin(all, start, tokens) {
      units = all;
      word = start;
      out = tokens;
      unknownFrom = -1;
    },
    put(id, start, end) {
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
    },
    finish,
  };
}
