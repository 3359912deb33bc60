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
  length = 0;
  starts: number[] = [];
  ends: number[] = [];
  ids: number[] = [];
  arcScores: number[] = [];

  constructor(private readonly options: LatticeOptions) {
    for (const { piece, id } of options.pieces) if (piece !== "") this.trie.add(piece, id);
  }

  /** Sets the word that the others look at; arcs come in order of their starts. */
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

  /** The piece of an arc. */
  pieceAt(arc: number): PathPiece {
    return { id: this.ids[arc] as number, start: this.starts[arc] as number, end: this.ends[arc] as number };
  }

  /** Numbers of the arcs that end at each place. */
  arcsByEnd(): number[][] {
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

/** The logarithm of the sum of two numbers that are given by theirs. */
export function logAdd(a: number, b: number): number {
  if (a === Number.NEGATIVE_INFINITY) return b;
  const greater = Math.max(a, b);
  return greater + Math.log1p(Math.exp(Math.min(a, b) - greater));
}
