/** Spreads two 32-bit integers over 32 bits (multiply-xorshift). */
export function mixPair(left: number, right: number): number {
  let hash = Math.imul(left, 0x9e3779b1) ^ Math.imul(right + 0x7f4a7c15, 0x85ebca6b);
  hash ^= hash >>> 15;
  hash = Math.imul(hash, 0x2c1b3c6d);
  return hash ^ (hash >>> 13);
}

/** Slots for a number of pairs, at most two thirds full. */
export function numPairSlots(count: number): number {
  let capacity = 16;
  while (capacity * 2 < count * 3) capacity *= 2;
  return capacity;
}

/**
 * A hash map from two non-negative 32-bit integers to one integer from 0 to 2^31 - 2.
 *
 * Open addressing in one Int32Array (left, right, value + 1; 0: empty), at most two thirds full: a lookup touches one
 * cache line most of the time and allocates nothing. Used for BPE merges (left id, right id -> rank) and for tries
 * (node, unit -> child).
 */
export class PairTable {
  private slots: Int32Array;
  private mask: number;
  private count = 0;

  /** @param expected how many pairs will be stored; the table grows beyond that by itself */
  constructor(expected = 16) {
    const capacity = numPairSlots(expected);
    this.slots = new Int32Array(capacity * 3);
    this.mask = capacity - 1;
  }

  /** Returns the value stored for (left, right), or -1. */
  get(left: number, right: number): number {
    const { slots, mask } = this;
    let slot = mixPair(left, right) & mask;
    for (;;) {
      const at = slot * 3;
      const value = slots[at + 2] as number;
      if (value === 0) return -1;
      if (slots[at] === left && slots[at + 1] === right) return value - 1;
      slot = (slot + 1) & mask;
    }
  }

  /** Stores a value, replacing an earlier one. */
  set(left: number, right: number, value: number): void {
    if ((this.count + 1) * 3 > (this.mask + 1) * 2) this.grow();
    const { slots, mask } = this;
    let slot = mixPair(left, right) & mask;
    for (;;) {
      const at = slot * 3;
      const isEmpty = slots[at + 2] === 0;
      if (isEmpty || (slots[at] === left && slots[at + 1] === right)) {
        slots[at] = left;
        slots[at + 1] = right;
        slots[at + 2] = value + 1;
        if (isEmpty) this.count++;
        return;
      }
      slot = (slot + 1) & mask;
    }
  }

  private grow(): void {
    const old = this.slots;
    this.slots = new Int32Array(old.length * 2);
    this.mask = (this.mask + 1) * 2 - 1;
    this.count = 0;
    for (let at = 0; at < old.length; at += 3) {
      const value = old[at + 2] as number;
      if (value !== 0) this.set(old[at] as number, old[at + 1] as number, value - 1);
    }
  }
}
