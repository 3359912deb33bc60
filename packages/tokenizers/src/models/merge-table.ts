import { mixPair, numPairSlots } from "../pair-table.js";

/** Byte symbols are the first in most vocabularies, behind a few special tokens in others. */
const LOW = 512;

/**
 * Which neighbours merge: each merge of two symbols has a number, a rank (lower first) and a result.
 *
 * Open addressing: a slot is the number of a merge and one, with bits of the hash above it, so that the list is seldom
 * looked at in vain; 0: empty. Merges of symbols below LOW, which the first symbols of a word mostly are, lie in a plain
 * table too.
 */
export class MergeTable {
  private readonly low = new Int32Array(LOW * LOW).fill(-1);
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
    private readonly ranks: ArrayLike<number> | null = null,
    slots: Int32Array | null = null,
  ) {
    const count = merges.length / 3;
    this.slots = slots ?? new Int32Array(numPairSlots(count));
    this.mask = this.slots.length - 1;
    this.numberBits = -1 >>> Math.clz32(count);
    for (let merge = 0; merge < count; merge++) {
      const left = merges[3 * merge] as number;
      const right = merges[3 * merge + 1] as number;
      if ((left | right) < LOW) this.low[left * LOW + right] = merge;
      else if (slots === null) this.place(left, right, merge);
    }
  }

  /** Number of the merge of two symbols, or -1. */
  find(left: number, right: number): number {
    if ((left | right) < LOW) return this.low[left * LOW + right] as number;
    const { slots, mask, merges, numberBits } = this;
    const hash = mixPair(left, right);
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const found = slots[slot] as number;
      if (found === 0) return -1;
      if (((found ^ hash) & ~numberBits) !== 0) continue;
      const merge = (found & numberBits) - 1;
      if (merges[3 * merge] === left && merges[3 * merge + 1] === right) return merge;
    }
  }

  rankOf(merge: number): number {
    return this.ranks === null ? merge : (this.ranks[merge] as number);
  }

  resultOf(merge: number): number {
    return this.merges[3 * merge + 2] as number;
  }

  private place(left: number, right: number, merge: number): void {
    const { slots, mask, merges, numberBits } = this;
    const hash = mixPair(left, right);
    let slot = hash & mask;
    for (; slots[slot] !== 0; slot = (slot + 1) & mask) {
      const other = ((slots[slot] as number) & numberBits) - 1;
      if (merges[3 * other] === left && merges[3 * other + 1] === right) break;
    }
    slots[slot] = (hash & ~numberBits) | (merge + 1);
  }
}
