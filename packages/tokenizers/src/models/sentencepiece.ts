import { codePointLength } from "../aligned-text.js";
import { SPACE_SYMBOL } from "../normalizers/sentencepiece.js";
import type { TokenBuffer } from "../token-buffer.js";
import { createVocabulary } from "../vocabulary.js";
import { createWordCuts } from "../word-cuts.js";
import { byteTokenName } from "./byte-fallback.js";
import type { CompiledModel, ScoredTokens } from "./model.js";
import { cannotSample, type Sampling } from "./sampling.js";
import { compileSentencePieceBpe } from "./sentencepiece-bpe.js";
import {
  type Piece,
  type Segmenter,
  type SentencePieceModel,
  userDefinedTrie,
} from "./sentencepiece-pieces.js";
import { createSegmenter, nBestTokens, type PathPiece, UNKNOWN_PENALTY } from "./unigram.js";
import { type LatticeOptions, UnigramLattice } from "./unigram-lattice.js";

/**
 * Prepares a SentencePiece model.
 *
 * Unknown text becomes its bytes (byte fallback), the last of which carries the place in the original, or one unknown
 * token for each unbroken stretch, as in the C++ library.
 *
 * @see Kudo and Richardson 2018, SentencePiece, arXiv:1808.06226; sentencepiece_processor.cc
 */
export function compileSentencePieceModel(
  model: SentencePieceModel,
  sampling: Sampling | null = null,
): CompiledModel {
  const vocabulary = createVocabulary(uniquePieces(model.pieces));
  const segment = compileSegmenter(model, sampling);
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
  let lattice: UnigramLattice | null = null;
  const nBest = (word: string, size: number): ScoredTokens[] => {
    lattice ??= new UnigramLattice(latticeOptions(model));
    return nBestTokens({ word, size, emit }, lattice);
  };
  const canCut = model.algorithm === "bpe" && sampling === null;
  return {
    vocabulary,
    tokenizeBytes: null,
    createCuts: canCut ? () => createWordCuts(createVocabulary(mergedPieces(model.pieces)).packed) : null,
    createByteCuts: null,
    tokenize: (text, out) => emit(text, segment(text), out),
    ...(model.algorithm === "unigram" ? { nBest } : {}),
  };
}

function* mergedPieces(pieces: readonly Piece[]): Generator<[string, number]> {
  for (const [id, { piece, kind }] of pieces.entries()) {
    if (piece !== "" && (kind === "normal" || kind === "userDefined" || kind === "unused")) yield [piece, id];
  }
}

function* uniquePieces(pieces: readonly Piece[]): Generator<[string, number]> {
  for (const [id, { piece }] of pieces.entries()) yield [piece, id];
}

const encoder = new TextEncoder();

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

function compileSegmenter(model: SentencePieceModel, sampling: Sampling | null): Segmenter {
  switch (model.algorithm) {
    case "unigram":
      return createSegmenter({ ...latticeOptions(model), round: Math.fround }, sampling);
    case "bpe":
      return compileSentencePieceBpe(model, sampling);
    case "char":
      if (sampling !== null) throw cannotSample(model.algorithm);
      return compileCharSegmenter(model);
    case "word":
      if (sampling !== null) throw cannotSample(model.algorithm);
      return compileWordSegmenter(model);
    default:
      return model.algorithm satisfies never;
  }
}

const textLength = (piece: string): number => encoder.encode(piece).length;

function latticeOptions(model: SentencePieceModel): LatticeOptions {
  const normal = model.pieces.filter(({ kind }) => kind === "normal").map(({ score }) => score);
  const least = normal.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY);
  const greatest = normal.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const scores = model.pieces.map(({ piece, score, kind }) =>
    kind === "userDefined" ? Math.fround(textLength(piece) * greatest - 0.1) : score,
  );
  const pieces = model.pieces.map(({ piece, kind }, id) => ({ piece, id, kind }));
  return {
    pieces: pieces.filter(({ kind }) => kind === "normal" || kind === "userDefined"),
    scoreOf: (id: number) => scores[id] as number,
    unknownScore: Math.fround(least - UNKNOWN_PENALTY),
  };
}

function compileCharSegmenter(model: SentencePieceModel): Segmenter {
  const ids = new Map(model.pieces.map(({ piece }, id) => [piece, id]));
  const symbols = userDefinedTrie(model.pieces);
  return (text) => {
    const path: PathPiece[] = [];
    for (let start = 0; start < text.length; ) {
      const end = start + (symbols.longestPrefix(text, start) || codePointLength(text, start));
      path.push({ id: ids.get(text.slice(start, end)) ?? -1, start, end });
      start = end;
    }
    return path;
  };
}

function compileWordSegmenter(model: SentencePieceModel): Segmenter {
  const ids = new Map(model.pieces.map(({ piece }, id) => [piece, id]));
  const word = model.treatWhitespaceAsSuffix
    ? new RegExp(`[^${SPACE_SYMBOL}]*${SPACE_SYMBOL}|[^${SPACE_SYMBOL}]+`, "gu")
    : new RegExp(`${SPACE_SYMBOL}[^${SPACE_SYMBOL}]*|[^${SPACE_SYMBOL}]+`, "gu");
  return (text) =>
    Array.from(text.matchAll(word), (match) => ({
      id: ids.get(match[0]) ?? -1,
      start: match.index,
      end: match.index + match[0].length,
    }));
}
