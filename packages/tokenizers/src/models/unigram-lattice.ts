import { codePointLength } from "../aligned-text.js";
import { PieceTrie, TRIE_ROOT } from "../piece-trie.js";

/** A piece of the best path; id -1: unknown character. */
export interface PathPiece {
  readonly id: number;
  readonly start: number;
  readonly end: number;
}

/** A segmentation and its log probability. */
export interface ScoredPath {
  readonly path: readonly PathPiece[];
  readonly score: number;
}

export interface LatticeOptions {
  readonly pieces: Iterable<{ readonly piece: string; readonly id: number }>;
  readonly scoreOf: (id: number) => number;
  /** Log probability of a character that is no piece. */
  readonly unknownScore: number;
  /** Rounds each sum of the best path: SentencePiece adds in float32. */
  readonly round: (value: number) => number;
}

/**
 * All segmentations of a word into pieces: arcs from place to place, each with a piece and its log probability. A
 * character that is no piece gets an arc of its own with id -1. Used for one word after another.
 */
export class UnigramLattice {
  private readonly trie = new PieceTrie();
  private length = 0;
  private starts: number[] = [];
  private ends: number[] = [];
  private ids: number[] = [];
  private arcScores: number[] = [];

  constructor(private readonly options: LatticeOptions) {
    for (const { piece, id } of options.pieces) if (piece !== "") this.trie.add(piece, id);
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

  /**
   * Draws a segmentation with probability proportional to P(segmentation)^alpha: sums forward, draws backward.
   *
   * @param alpha  1: as the model has it; towards 0 all segmentations become equally likely
   * @param random  gives numbers in [0, 1)
   * @see Kudo 2018, arXiv:1804.10959, section 3.3 (with l = infinity)
   */
  sample(alpha: number, random: () => number): PathPiece[] {
    const { length, starts, ends, arcScores } = this;
    const forward = new Float64Array(length + 1).fill(Number.NEGATIVE_INFINITY);
    forward[0] = 0;
    for (let a = 0; a < starts.length; a++) {
      const end = ends[a] as number;
      const score = (forward[starts[a] as number] as number) + alpha * (arcScores[a] as number);
      forward[end] = logAdd(forward[end] as number, score);
    }
    const into = this.arcsByEnd();
    const path: PathPiece[] = [];
    for (let end = length; end > 0; ) {
      const arcs = into[end] as number[];
      let left = random();
      let drawn = arcs[0] as number;
      for (const arc of arcs) {
        drawn = arc;
        const score = (forward[starts[arc] as number] as number) + alpha * (arcScores[arc] as number);
        left -= Math.exp(score - (forward[end] as number));
        if (left < 0) break;
      }
      path.push(this.pieceAt(drawn));
      end = starts[drawn] as number;
    }
    return path.reverse();
  }

  /**
   * Finds the `size` best segmentations, best first: each place keeps its `size` best ways to get there.
   *
   * @see Kudo 2018, arXiv:1804.10959, section 3.3 (forward dynamic programming in place of backward A*: same result)
   */
  nBest(size: number): ScoredPath[] {
    const { length, starts, arcScores } = this;
    const into = this.arcsByEnd();
    const ways: Way[][] = [[{ score: 0, arc: -1, before: null }]];
    for (let end = 1; end <= length; end++) {
      const found: Way[] = [];
      for (const arc of into[end] ?? []) {
        for (const before of ways[starts[arc] as number] ?? []) {
          found.push({ score: before.score + (arcScores[arc] as number), arc, before });
        }
      }
      ways[end] = found.sort((a, b) => b.score - a.score).slice(0, size);
    }
    return (ways[length] as Way[]).map((way) => {
      const path: PathPiece[] = [];
      for (let at: Way | null = way; at !== null && at.arc >= 0; at = at.before)
        path.push(this.pieceAt(at.arc));
      return { path: path.reverse(), score: way.score };
    });
  }

  private pieceAt(arc: number): PathPiece {
    return { id: this.ids[arc] as number, start: this.starts[arc] as number, end: this.ends[arc] as number };
  }

  private arcsByEnd(): number[][] {
    const into: number[][] = Array.from({ length: this.length + 1 }, () => []);
    for (let a = 0; a < this.ends.length; a++) (into[this.ends[a] as number] as number[]).push(a);
    return into;
  }

  private addArc(start: number, end: number, id: number): void {
    this.starts.push(start);
    this.ends.push(end);
    this.ids.push(id);
    this.arcScores.push(id < 0 ? this.options.unknownScore : this.options.scoreOf(id));
  }
}

function logAdd(a: number, b: number): number {
  if (a === Number.NEGATIVE_INFINITY) return b;
  const greater = Math.max(a, b);
  return greater + Math.log1p(Math.exp(Math.min(a, b) - greater));
}

/** One way to a place: its last arc and the way to where that begins. */
interface Way {
  readonly score: number;
  readonly arc: number;
  readonly before: Way | null;
}
