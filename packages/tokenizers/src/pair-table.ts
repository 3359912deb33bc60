/** Spreads two 32-bit integers over 32 bits (multiply-xorshift). */
function mix(left: number, right: number): number {
  let hash = Math.imul(left, 0x9e3779b1) ^ Math.imul(right + 0x7f4a7c15, 0x85ebca6b);
  hash ^= hash >>> 15;
  hash = Math.imul(hash, 0x2c1b3c6d);
  return hash ^ (hash >>> 13);
}

/**
 * A hash map from two non-negative 32-bit integers to one non-negative 32-bit integer.
 *
 * Open addressing in one Int32Array (stride 4: left, right, value, unused), at most half full: a lookup touches one
 * cache line most of the time and allocates nothing. Used for BPE merges (left id, right id -> rank) and for tries
 * (node, unit -> child).
 */
export class PairTable {
  private slots: Int32Array;
  private mask: number;
  private count = 0;

  /** @param expected how many pairs will be stored; the table grows beyond that by itself */
  constructor(expected = 16) {
    let capacity = 16;
    while (capacity < expected * 2) capacity *= 2;
    this.slots = new Int32Array(capacity * 4).fill(-1);
    this.mask = capacity - 1;
  }

  get size(): number {
    return this.count;
  }

  /** Returns the value stored for (left, right), or -1. */
  get(left: number, right: number): number {
    const { slots, mask } = this;
    let slot = mix(left, right) & mask;
    for (;;) {
      const at = slot << 2;
      const key = slots[at] as number;
      if (key === left && slots[at + 1] === right) return slots[at + 2] as number;
      if (key === -1) return -1;
      slot = (slot + 1) & mask;
    }
  }

  /** Stores a value, replacing an earlier one. */
  set(left: number, right: number, value: number): void {
    if ((this.count + 1) * 2 > this.mask + 1) this.grow();
    const { slots, mask } = this;
    let slot = mix(left, right) & mask;
    for (;;) {
      const at = slot << 2;
      if (slots[at] === -1) {
        slots[at] = left;
        slots[at + 1] = right;
        slots[at + 2] = value;
        this.count++;
        return;
      }
      if (slots[at] === left && slots[at + 1] === right) {
        slots[at + 2] = value;
        return;
      }
      slot = (slot + 1) & mask;
    }
  }

  private grow(): void {
    const old = this.slots;
    this.slots = new Int32Array(old.length * 2).fill(-1);
    this.mask = (this.mask + 1) * 2 - 1;
    this.count = 0;
    for (let at = 0; at < old.length; at += 4) {
      if (old[at] !== -1) this.set(old[at] as number, old[at + 1] as number, old[at + 2] as number);
    }
  }
}
