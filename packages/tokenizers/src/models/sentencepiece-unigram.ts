import { byteLength } from "../text-coders.js";
import type { SentencePieceModel } from "./sentencepiece-pieces.js";
import { UNKNOWN_PENALTY } from "./unigram.js";
import type { LatticeOptions } from "./unigram-lattice.js";

/** A unigram SentencePiece model in the terms of the search for segmentations; sums are float32. */
export function latticeOptions(model: SentencePieceModel): LatticeOptions {
  const normal = model.pieces.filter(({ kind }) => kind === "normal").map(({ score }) => score);
  const least = normal.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY);
  const greatest = normal.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const scores = model.pieces.map(({ piece, score, kind }) =>
    kind === "userDefined" ? Math.fround(byteLength(piece) * greatest - 0.1) : score,
  );
  const pieces = model.pieces.map(({ piece, kind }, id) => ({ piece, id, kind }));
  return {
    pieces: pieces.filter(({ kind }) => kind === "normal" || kind === "userDefined"),
    scoreOf: (id: number) => scores[id] as number,
    unknownScore: Math.fround(least - UNKNOWN_PENALTY),
    round: Math.fround,
  };
}
