import { logAdd, type UnigramLattice } from "../models/unigram-lattice.js";

/**
 * Adds `weight` times the probability that each piece is part of the word's segmentation to `expected` (forward and
 * backward sums in logarithms).
 *
 * @returns the logarithm of the word's probability, summed over all segmentations
 */
export function addExpected(lattice: UnigramLattice, weight: number, expected: Float64Array): number {
  const { length, starts, ends, ids, arcScores } = lattice;
  const forward = new Float64Array(length + 1).fill(Number.NEGATIVE_INFINITY);
  const backward = new Float64Array(length + 1).fill(Number.NEGATIVE_INFINITY);
  forward[0] = 0;
  backward[length] = 0;
  for (let a = 0; a < ids.length; a++) {
    const end = ends[a] as number;
    const score = (forward[starts[a] as number] as number) + (arcScores[a] as number);
    forward[end] = logAdd(forward[end] as number, score);
  }
  for (let a = ids.length - 1; a >= 0; a--) {
    const start = starts[a] as number;
    const score = (backward[ends[a] as number] as number) + (arcScores[a] as number);
    backward[start] = logAdd(backward[start] as number, score);
  }
  const total = forward[length] as number;
  for (let a = 0; a < ids.length; a++) {
    const id = ids[a] as number;
    if (id < 0) continue;
    const before = forward[starts[a] as number] as number;
    const behind = backward[ends[a] as number] as number;
    const share = Math.exp(before + (arcScores[a] as number) + behind - total);
    expected[id] = (expected[id] as number) + weight * share;
  }
  return total;
}

/**
 * Finds the best segmentation (Viterbi).
 *
 * @param options.exceptWhole  the word as one piece does not count
 * @returns ids of its pieces from left to right and its log probability; null if there is none
 */
export function bestPath(
  lattice: UnigramLattice,
  options: { readonly exceptWhole?: boolean } = {},
): { ids: number[]; score: number } | null {
  const { length, starts, ends, ids, arcScores } = lattice;
  const best = new Float64Array(length + 1).fill(Number.NEGATIVE_INFINITY);
  const by = new Int32Array(length + 1).fill(-1);
  best[0] = 0;
  for (let a = 0; a < ids.length; a++) {
    const start = starts[a] as number;
    const end = ends[a] as number;
    if (options.exceptWhole === true && start === 0 && end === length) continue;
    const score = (best[start] as number) + (arcScores[a] as number);
    if (score <= (best[end] as number)) continue;
    best[end] = score;
    by[end] = a;
  }
  const path: number[] = [];
  for (let end = length; end > 0; ) {
    const arc = by[end] as number;
    if (arc < 0) return null;
    path.push(ids[arc] as number);
    end = starts[arc] as number;
  }
  return { ids: path.reverse(), score: best[length] as number };
}
