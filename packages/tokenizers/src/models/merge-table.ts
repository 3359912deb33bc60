import { mixPair, numPairSlots } from "../pair-table.js";

/** Pairs that were looked up lately: two in three lookups of a text find theirs among so many. */
const RECENT = 1 << 13;

/**
 * Which neighbours merge: each merge of two symbols has a number, a rank (lower first) and a result.
 *
 * Open addressing: a slot is the number of a merge and one, with bits of the hash above it, so that the list is seldom
 * looked at in vain; 0: empty. What was found for a pair is kept in a small table until another pair takes its place.
 */
export class MergeTable {
  /** By hash: left symbol and one (0: none yet), right symbol, rank of their merge or -1. */
  private readonly recent = new Int32Array(3 * RECENT);
  readonly slots: Int32Array;
  private readonly mask: number;
  private readonly numberBits: number;

  /**
   * @param merges  left symbol, right symbol and result of each merge: [3 * merges]; of equal pairs the last counts
   * @param ranks  rank of each merge; null: its number
   * @param slots  as another table of these merges has them; null: they are made
   * @param results  where ranks are given, by rank: what its merges result in, negative: it is looked up; null: the rank itself
   */
  constructor(
    private readonly merges: Int32Array,
    private readonly ranks: Int32Array | null = null,
    slots: Int32Array | null = null,
    private readonly results: Int32Array | null = null,
  ) {
    const count = merges.length / 3;
    this.slots = slots ?? new Int32Array(numPairSlots(count));
    this.mask = this.slots.length - 1;
    this.numberBits = -1 >>> Math.clz32(count);
    for (let merge = 0; merge < count && slots === null; merge++) this.place(merge);
  }

  /** Rank of the merge of two symbols, or -1. */
  find(left: number, right: number): number {
    const { recent, ranks } = this;
    const hash = mixPair(left, right);
    const at = 3 * (hash >>> 19);
    if (recent[at] !== left + 1 || recent[at + 1] !== right) {
      recent[at] = left + 1;
      recent[at + 1] = right;
      const merge = this.search(left, right, hash);
      recent[at + 2] = merge < 0 || ranks === null ? merge : (ranks[merge] as number);
    }
    return recent[at + 2] as number;
  }

  /** Number of the merge of two symbols, or -1. */
  private search(left: number, right: number, hash: number): number {
    const { slots, mask, merges, numberBits } = this;
    for (let probe = 0; ; probe++) {
      const found = slots[(hash + probe) & mask] as number;
      if (found === 0) return -1;
      if (((found ^ hash) & ~numberBits) !== 0) continue;
      const merge = (found & numberBits) - 1;
      if (merges[3 * merge] === left && merges[3 * merge + 1] === right) return merge;
    }
  }

  /** What two symbols merge into, whose merge has this rank. */
  resultOf(rank: number, left: number, right: number): number {
    const { merges, ranks, results } = this;
    if (ranks === null) return merges[3 * rank + 2] as number;
    const result = results === null ? rank : (results[rank] as number);
    if (result >= 0) return result;
    return merges[3 * this.search(left, right, mixPair(left, right)) + 2] as number;
  }

  private place(merge: number): void {
    const { slots, mask, merges, numberBits } = this;
    const left = merges[3 * merge] as number;
    const right = merges[3 * merge + 1] as number;
    const hash = mixPair(left, right);
    let slot = hash & mask;
    for (; slots[slot] !== 0; slot = (slot + 1) & mask) {
      const found = slots[slot] as number;
      if (((found ^ hash) & ~numberBits) !== 0) continue;
      const other = (found & numberBits) - 1;
      if (merges[3 * other] === left && merges[3 * other + 1] === right) break;
    }
    slots[slot] = (hash & ~numberBits) | (merge + 1);
  }
}
