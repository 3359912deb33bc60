import { codePointLength } from "../aligned-text.js";
import { UNKNOWN_PENALTY } from "../models/unigram.js";
import { PieceTrie, TRIE_ROOT } from "../piece-trie.js";
import type { ScoredPiece } from "./unigram-seed.js";

/**
 * All segmentations of a word into pieces: arcs from place to place, each with a piece and its log probability. A
 * character that is no piece gets an arc of its own with id -1. Used for one word after another.
 */
export class UnigramLattice {
  private readonly trie = new PieceTrie();
  private readonly scores: Float64Array;
  private readonly unknownScore: number;
  private length = 0;
  private starts: number[] = [];
  private ends: number[] = [];
  private ids: number[] = [];
  private arcScores: number[] = [];

  constructor(pieces: readonly ScoredPiece[]) {
    this.scores = Float64Array.from(pieces, ([, score]) => score);
    this.unknownScore = this.scores.reduce((a, b) => Math.min(a, b), 0) - UNKNOWN_PENALTY;
    for (const [id, [piece]] of pieces.entries()) this.trie.add(piece, id);
  }

  /** Sets the word that the other methods look at; arcs come in order of their starts. */
  read(word: string): void {
    this.length = word.length;
    this.starts = [];
    this.ends = [];
    this.ids = [];
    this.arcScores = [];
    for (let start = 0; start < word.length; ) {
      const width = codePointLength(word, start);
      let node = TRIE_ROOT;
      let hasSingle = false;
      for (let at = start; at < word.length; at++) {
        node = this.trie.child(node, word.charCodeAt(at));
        if (node < 0) break;
        const id = this.trie.valueAt(node);
        if (id < 0) continue;
        this.addArc(start, at + 1, id);
        if (at + 1 - start === width) hasSingle = true;
      }
      if (!hasSingle) this.addArc(start, start + width, -1);
      start += width;
    }
  }

  /**
   * Adds `weight` times the probability that each piece is part of the word's segmentation to `expected` (forward and
   * backward sums in logarithms).
   *
   * @returns the logarithm of the word's probability, summed over all segmentations
   */
  addExpected(weight: number, expected: Float64Array): number {
    const { length, starts, ends, ids, arcScores } = this;
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
  best(options: { readonly exceptWhole?: boolean } = {}): { ids: number[]; score: number } | null {
    const { length, starts, ends, ids, arcScores } = this;
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

  private addArc(start: number, end: number, id: number): void {
    this.starts.push(start);
    this.ends.push(end);
    this.ids.push(id);
    this.arcScores.push(id < 0 ? this.unknownScore : (this.scores[id] as number));
  }
}

function logAdd(a: number, b: number): number {
  if (a === Number.NEGATIVE_INFINITY) return b;
  const greater = Math.max(a, b);
  return greater + Math.log1p(Math.exp(Math.min(a, b) - greater));
}
