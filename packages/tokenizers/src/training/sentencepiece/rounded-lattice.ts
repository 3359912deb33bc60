import { codePointLength } from "../../aligned-text.js";
import { grown } from "../../grown.js";
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
  private numArcs = 0;
  /** Arcs in order of start, of one start the shorter first. */
  private starts = new Int32Array(256);
  private ends = new Int32Array(256);
  private ids = new Int32Array(256);
  private arcScores = new Float32Array(256);
  /** Arcs that begin at place p are those from firstFrom[p] up to firstFrom[p + 1]. */
  private firstFrom = new Int32Array(64);
  /** Arcs that end at place p, in order, are arcsInto[firstInto[p]] up to that of the next place. */
  private firstInto = new Int32Array(64);
  private arcsInto = new Int32Array(256);
  /** For each UTF-16 unit the number of the character that begins there; -1 inside a character. */
  private placeOfUnit = new Int32Array(64);
  private alpha = new Float32Array(64);
  private beta = new Float32Array(256);

  constructor(pieces: readonly Learned[]) {
    this.scores = Float32Array.from(pieces, ([, score]) => score);
    for (const [id, [piece]] of pieces.entries()) this.trie.add(piece, id);
    this.unknownScore = fround(this.scores.reduce((a, b) => Math.min(a, b), Infinity) - UNKNOWN_PENALTY);
  }

  read(word: string): void {
    this.length = this.numberCharacters(word);
    this.numArcs = 0;
    for (let unit = 0; unit < word.length; unit++) {
      const place = this.placeOfUnit[unit] as number;
      if (place >= 0) this.addArcsFrom(word, unit, place);
    }
    this.firstFrom[this.length] = this.numArcs;
    this.sortByEnd();
  }

  /** Returns the number of characters. */
  private numberCharacters(word: string): number {
    if (word.length + 2 > this.placeOfUnit.length) {
      const size = 2 * (word.length + 2);
      this.placeOfUnit = new Int32Array(size);
      this.firstFrom = new Int32Array(size);
      this.firstInto = new Int32Array(size);
      this.alpha = new Float32Array(size);
    }
    let place = 0;
    for (let unit = 0; unit < word.length; unit++) {
      this.placeOfUnit[unit] = place++;
      if (codePointLength(word, unit) === 2) this.placeOfUnit[++unit] = -1;
    }
    this.placeOfUnit[word.length] = place;
    return place;
  }

  private addArcsFrom(word: string, start: number, place: number): void {
    this.firstFrom[place] = this.numArcs;
    let hasSingle = false;
    let node = TRIE_ROOT;
    for (let unit = start; unit < word.length; unit++) {
      node = this.trie.child(node, word.charCodeAt(unit));
      if (node < 0) break;
      const id = this.trie.valueAt(node);
      const end = this.placeOfUnit[unit + 1] as number;
      if (id < 0 || end < 0) continue;
      this.addArc({ start: place, end, id, score: this.scores[id] as number });
      hasSingle ||= end === place + 1;
    }
    if (!hasSingle) this.addArc({ start: place, end: place + 1, id: UNKNOWN_ID, score: this.unknownScore });
  }

  /** Lists arcs by their end; of one end in order of start. */
  private sortByEnd(): void {
    const { ends, firstInto, arcsInto, length, numArcs } = this;
    firstInto.fill(0, 0, length + 2);
    for (let arc = 0; arc < numArcs; arc++) {
      const next = (ends[arc] as number) + 1;
      firstInto[next] = (firstInto[next] as number) + 1;
    }
    for (let place = 1; place <= length + 1; place++)
      firstInto[place] = (firstInto[place] as number) + (firstInto[place - 1] as number);
    // Placing an arc moves the first place of its end; going backwards over the places moves all back.
    for (let arc = 0; arc < numArcs; arc++) {
      const end = ends[arc] as number;
      const at = firstInto[end] as number;
      arcsInto[at] = arc;
      firstInto[end] = at + 1;
    }
    for (let place = length + 1; place > 0; place--) firstInto[place] = firstInto[place - 1] as number;
    firstInto[0] = 0;
  }

  /**
   * Adds to `expected` how often each piece occurs in `count` words, over all segmentations by their probability.
   *
   * @returns log probability of the word
   */
  addExpected(count: number, expected: Float32Array): number {
    const { length, numArcs, starts, ids, arcScores, alpha, beta } = this;
    this.forward();
    this.backward();
    const total = alpha[length] as number;
    for (let arc = 0; arc < numArcs; arc++) {
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
      for (let k = this.firstInto[place] as number; k < (this.firstInto[place + 1] as number); k++) {
        const arc = this.arcsInto[k] as number;
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
    const { length, starts, arcScores, firstInto, arcsInto } = this;
    const score = new Float32Array(length + 1);
    const by = new Int32Array(length + 1).fill(-1);
    for (let place = 1; place <= length; place++) {
      let best = Number.NEGATIVE_INFINITY;
      for (let k = firstInto[place] as number; k < (firstInto[place + 1] as number); k++) {
        const arc = arcsInto[k] as number;
        const sum = fround((score[starts[arc] as number] as number) + (arcScores[arc] as number));
        if (sum <= best) continue;
        best = sum;
        by[place] = arc;
      }
      score[place] = best;
    }
    return { score, by };
  }

  /** Finds for each place the log of the summed probability of all ways to it. */
  private forward(): void {
    const { length, starts, arcScores, firstInto, arcsInto, alpha } = this;
    alpha[0] = 0;
    for (let place = 1; place <= length; place++) {
      const first = firstInto[place] as number;
      for (let k = first; k < (firstInto[place + 1] as number); k++) {
        const arc = arcsInto[k] as number;
        const way = fround((arcScores[arc] as number) + (alpha[starts[arc] as number] as number));
        alpha[place] = k === first ? way : logSumExp(alpha[place] as number, way);
      }
    }
  }

  /** Finds for each arc the log of the summed probability of all ways from its end. */
  private backward(): void {
    const { length, arcScores, firstFrom, firstInto, arcsInto, beta } = this;
    for (let k = firstInto[length] as number; k < (firstInto[length + 1] as number); k++)
      beta[arcsInto[k] as number] = 0;
    for (let place = length - 1; place >= 0; place--) {
      const first = firstFrom[place] as number;
      let sum = 0;
      for (let arc = first; arc < (firstFrom[place + 1] as number); arc++) {
        const way = fround((arcScores[arc] as number) + (beta[arc] as number));
        sum = arc === first ? way : logSumExp(sum, way);
      }
      for (let k = firstInto[place] as number; k < (firstInto[place + 1] as number); k++)
        beta[arcsInto[k] as number] = sum;
    }
  }

  private addArc(arc: {
    readonly start: number;
    readonly end: number;
    readonly id: number;
    readonly score: number;
  }): void {
    const at = this.numArcs++;
    if (at >= this.starts.length) this.grow();
    this.starts[at] = arc.start;
    this.ends[at] = arc.end;
    this.ids[at] = arc.id;
    this.arcScores[at] = arc.score;
  }

  private grow(): void {
    this.starts = grown(this.starts);
    this.ends = grown(this.ends);
    this.ids = grown(this.ids);
    this.arcsInto = grown(this.arcsInto);
    this.arcScores = grown(this.arcScores);
    this.beta = new Float32Array(this.starts.length);
  }
}

/** log(exp(a) + exp(b)) in float32. */
function logSumExp(a: number, b: number): number {
  const least = Math.min(a, b);
  const greatest = Math.max(a, b);
  if (greatest > least + 50) return greatest;
  return fround(greatest + Math.log(Math.exp(fround(least - greatest)) + 1));
}
