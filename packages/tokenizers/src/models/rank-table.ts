import { mixPair } from "../pair-table.js";
import type { Vocabulary } from "../vocabulary.js";
import type { Merges } from "./merge-table.js";

/** Pairs that are remembered; a new one takes the place of an older one. */
const SLOTS = 1 << 16;
const LOW = 256;
const UNKNOWN = -2;

/**
 * The merges of ranked tokens: any two neighbours merge whose joined bytes are a token; the number of a merge, its rank
 * and its result are the token's id. Nothing is prepared: a pair is looked up in the vocabulary when it first comes,
 * and the answers to the last pairs are kept.
 */
export class RankTable implements Merges {
  /** (left, right, answer) */
  private readonly slots = new Int32Array(3 * SLOTS).fill(UNKNOWN);
  /** Answers for the ids of most bytes. */
  private readonly low = new Int32Array(LOW * LOW).fill(UNKNOWN);

  constructor(private readonly vocabulary: Vocabulary) {}

  find(left: number, right: number): number {
    if ((left | right) < LOW) {
      const known = this.low[left * LOW + right] as number;
      return known === UNKNOWN ? this.learnLow(left, right) : known;
    }
    const { slots } = this;
    const at = 3 * (mixPair(left, right) & (SLOTS - 1));
    if (slots[at] === left && slots[at + 1] === right) return slots[at + 2] as number;
    const answer = this.vocabulary.idOfPair(left, right);
    slots[at] = left;
    slots[at + 1] = right;
    slots[at + 2] = answer;
    return answer;
  }

  rankOf(merge: number): number {
    return merge;
  }

  resultOf(merge: number): number {
    return merge;
  }

  private learnLow(left: number, right: number): number {
    const answer = this.vocabulary.idOfPair(left, right);
    this.low[left * LOW + right] = answer;
    return answer;
  }
}
