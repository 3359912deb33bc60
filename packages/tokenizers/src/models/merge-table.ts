import { mixPair, numPairSlots } from "../pair-table.js";

/** Pairs that were looked up lately: two in three lookups of a text find theirs among so many. */
const RECENT = 1 << 13;

/** What comes first among merges: of lower number, of lower result, or of lower rank, which is given by result. */
export type MergeOrder = "number" | "result" | Int32Array;

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
  /** What the pair that was found last results in. */
  result = 0;
  private readonly mask: number;
  private readonly numberBits: number;

  /**
   * @param merges  left symbol, right symbol and result of each merge: [3 * merges]; of equal pairs the last counts
   * @param order  which of two merges comes first
   * @param slots  as another table of these merges has them; null: they are made
   */
  constructor(
    private readonly merges: Int32Array,
    private readonly order: MergeOrder,
    slots: Int32Array | null = null,
  ) {
    const count = merges.length / 3;
    this.slots = slots ?? new Int32Array(numPairSlots(count));
    this.mask = this.slots.length - 1;
    this.numberBits = -1 >>> Math.clz32(count);
    for (let merge = 0; merge < count && slots === null; merge++) this.place(merge);
  }

  /** Rank of the merge of two symbols, or -1; `result` is what they merge into then. */
  find(left: number, right: number): number {
    const { recent } = this;
    const hash = mixPair(left, right);
    const at = (hash >>> 19) << 2;
    if (recent[at] !== left + 1 || recent[at + 1] !== right) {
      const merge = this.search(left, right, hash);
      const result = merge < 0 ? -1 : (this.merges[3 * merge + 2] as number);
      recent[at] = left + 1;
      recent[at + 1] = right;
      recent[at + 2] = this.rank(merge, result);
      recent[at + 3] = result;
    }
    this.result = recent[at + 3] as number;
    return recent[at + 2] as number;
  }

  private rank(merge: number, result: number): number {
    const { order } = this;
    if (merge < 0 || order === "number") return merge;
    return order === "result" ? result : (order[result] as number);
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
