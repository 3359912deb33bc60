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
  /** By hash: left symbol and one (0: none yet), right symbol, rank of their merge or -1, what it results in. */
  private readonly recent = new Int32Array(4 * RECENT);
  readonly slots: Int32Array;
  private readonly mask: number;
  private readonly numberBits: number;

  /**
   * @param merges  left symbol, right symbol and result of each merge: [3 * merges]; of equal pairs the last counts
   * @param ranks  rank of each merge; null: its number
   * @param slots  as another table of these merges has them; null: they are made
   */
  constructor(
    private readonly merges: Int32Array,
    private readonly ranks: Int32Array | null = null,
    slots: Int32Array | null = null,
  ) {
    const count = merges.length / 3;
    this.slots = slots ?? new Int32Array(numPairSlots(count));
    this.mask = this.slots.length - 1;
    this.numberBits = -1 >>> Math.clz32(count);
    for (let merge = 0; merge < count && slots === null; merge++) this.place(merge);
  }

  /** Rank of the merge of two symbols, or -1. */
  find(left: number, right: number): number {
    return this.recent[this.look(left, right) + 2] as number;
  }

  /** What two symbols that merge result in. */
  resultOf(left: number, right: number): number {
    return this.recent[this.look(left, right) + 3] as number;
  }

  /** Returns the place in `recent` where the pair stands then. */
  private look(left: number, right: number): number {
    const { recent, ranks, merges } = this;
    const hash = mixPair(left, right);
    const at = (hash >>> 19) << 2;
    if (recent[at] !== left + 1 || recent[at + 1] !== right) {
      const merge = this.search(left, right, hash);
      recent[at] = left + 1;
      recent[at + 1] = right;
      recent[at + 2] = merge < 0 || ranks === null ? merge : (ranks[merge] as number);
      if (merge >= 0) recent[at + 3] = merges[3 * merge + 2] as number;
    }
    return at;
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
