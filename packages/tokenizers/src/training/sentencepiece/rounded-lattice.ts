import { UNKNOWN_PENALTY } from "../../models/unigram.js";
import { PieceTrie, TRIE_ROOT } from "../../piece-trie.js";
import type { Learned } from "./frequency.js";
import { MaxHeap } from "./max-heap.js";

const { fround } = Math;

/** Unknown characters are counted for the first piece, as in SentencePiece. */
const UNKNOWN_ID = 0;

/** A way through the lattice's end: its first arc, and what follows. */
interface Tail {
  readonly arc: number;
  readonly next: Tail | null;
  /** Sum of the scores behind `arc` and of `arc` itself. */
  readonly behind: number;
  /** Score of the best whole way that ends in this one. */
  readonly best: number;
}

/**
 * The segmentations of one word into pieces, all sums rounded to float32 in the order in which SentencePiece adds them,
 * so that near-ties fall the same way. Twin: UnigramLattice, in float64
 *
 * @see sentencepiece/src/unigram_model.cc, class Lattice
 */
export class RoundedLattice {
  private readonly trie = new PieceTrie();
  private readonly scores: Float32Array;
  private readonly unknownScore: number;
  private length = 0;
  /** Arcs in order of start, of one start the shorter first. */
  private starts: number[] = [];
  private ids: number[] = [];
  private arcScores: number[] = [];
  /** Arcs by the place where they begin and end. */
  private from: number[][] = [];
  private into: number[][] = [];

  constructor(pieces: readonly Learned[]) {
    this.scores = Float32Array.from(pieces, ([, score]) => score);
    for (const [id, [piece]] of pieces.entries()) this.trie.add(piece, id);
    this.unknownScore = fround(this.scores.reduce((a, b) => Math.min(a, b), Infinity) - UNKNOWN_PENALTY);
  }

  read(word: string): void {
    const places = [0];
    for (const char of word) places.push((places.at(-1) as number) + char.length);
    const placeOf = new Map(places.map((unit, place) => [unit, place]));
    this.length = places.length - 1;
    this.starts = [];
    this.ids = [];
    this.arcScores = [];
    this.from = places.map(() => []);
    this.into = places.map(() => []);
    for (let place = 0; place < this.length; place++) {
      let hasSingle = false;
      let node = TRIE_ROOT;
      for (let unit = places[place] as number; unit < word.length; unit++) {
        node = this.trie.child(node, word.charCodeAt(unit));
        if (node < 0) break;
        const id = this.trie.valueAt(node);
        const end = placeOf.get(unit + 1);
        if (id < 0 || end === undefined) continue;
        this.addArc(place, end, id, this.scores[id] as number);
        hasSingle ||= end === place + 1;
      }
      if (!hasSingle) this.addArc(place, place + 1, UNKNOWN_ID, this.unknownScore);
    }
  }

  /**
   * Adds to `expected` how often each piece occurs in `count` words, over all segmentations by their probability.
   *
   * @returns log probability of the word
   */
  addExpected(count: number, expected: Float32Array): number {
    const { length, starts, ids, arcScores } = this;
    const alpha = this.forward();
    const total = alpha[length] as number;
    const beta = this.backward();
    for (let arc = 0; arc < ids.length; arc++) {
      const before = alpha[starts[arc] as number] as number;
      const sum = fround(fround(before + (arcScores[arc] as number)) + (beta[arc] as number));
      const id = ids[arc] as number;
      expected[id] = (expected[id] as number) + count * Math.exp(fround(sum - total));
    }
    return total;
  }

  /** Ids of the best segmentation; of equals the one that has the longest last pieces. */
  best(): number[] {
    const { by } = this.viterbi();
    const path: number[] = [];
    for (let place = this.length; place > 0; ) {
      const arc = by[place] as number;
      path.push(this.ids[arc] as number);
      place = this.starts[arc] as number;
    }
    return path.reverse();
  }

  /** Ids of the two best segmentations, the better first; one if there is no other. */
  twoBest(): number[][] {
    const { score } = this.viterbi();
    const agenda = new MaxHeap<Tail>(({ best }) => best);
    const paths: number[][] = [];
    const extend = (place: number, tail: Tail | null): void => {
      const behind = tail?.behind ?? 0;
      for (const arc of this.into[place] as number[]) {
        const arcScore = this.arcScores[arc] as number;
        const reached = fround((score[this.starts[arc] as number] as number) + arcScore);
        agenda.push({
          arc,
          next: tail,
          behind: fround(arcScore + behind),
          best: fround(reached + behind),
        });
      }
      if (place === 0) agenda.push({ arc: -1, next: tail, behind, best: fround(0 + behind) });
    };
    extend(this.length, null);
    for (let top = agenda.pop(); top !== undefined; top = agenda.pop()) {
      if (top.arc >= 0) {
        extend(this.starts[top.arc] as number, top);
        continue;
      }
      const path: number[] = [];
      for (let tail = top.next; tail !== null; tail = tail.next) path.push(this.ids[tail.arc] as number);
      paths.push(path);
      if (paths.length === 2) break;
    }
    return paths;
  }

  /** For each place the score of the best way to it and the last arc of that way. */
  private viterbi(): { readonly score: Float32Array; readonly by: Int32Array } {
    const { length, starts, arcScores, into } = this;
    const score = new Float32Array(length + 1);
    const by = new Int32Array(length + 1).fill(-1);
    for (let place = 1; place <= length; place++) {
      let best = Number.NEGATIVE_INFINITY;
      for (const arc of into[place] as number[]) {
        const sum = fround((score[starts[arc] as number] as number) + (arcScores[arc] as number));
        if (sum <= best) continue;
        best = sum;
        by[place] = arc;
      }
      score[place] = best;
    }
    return { score, by };
  }

  /** For each place the log of the summed probability of all ways to it. */
  private forward(): Float32Array {
    const alpha = new Float32Array(this.length + 1);
    for (let place = 1; place <= this.length; place++) {
      for (const [i, arc] of (this.into[place] as number[]).entries()) {
        const way = fround((this.arcScores[arc] as number) + (alpha[this.starts[arc] as number] as number));
        alpha[place] = i === 0 ? way : logSumExp(alpha[place] as number, way);
      }
    }
    return alpha;
  }

  /** For each arc the log of the summed probability of all ways from its end. */
  private backward(): Float32Array {
    const beta = new Float32Array(this.ids.length);
    const fromPlace = new Float32Array(this.length + 1);
    for (let place = this.length - 1; place >= 0; place--) {
      for (const [i, arc] of (this.from[place] as number[]).entries()) {
        const way = fround((this.arcScores[arc] as number) + (beta[arc] as number));
        fromPlace[place] = i === 0 ? way : logSumExp(fromPlace[place] as number, way);
      }
      for (const arc of this.into[place] as number[]) beta[arc] = fromPlace[place] as number;
    }
    return beta;
  }

  private addArc(start: number, end: number, id: number, score: number): void {
    const arc = this.ids.length;
    this.starts.push(start);
    this.ids.push(id);
    this.arcScores.push(score);
    (this.from[start] as number[]).push(arc);
    (this.into[end] as number[]).push(arc);
  }
}

/** log(exp(a) + exp(b)) in float32. */
function logSumExp(a: number, b: number): number {
  const least = Math.min(a, b);
  const greatest = Math.max(a, b);
  if (greatest > least + 50) return greatest;
  return fround(greatest + Math.log(Math.exp(fround(least - greatest)) + 1));
}
