import { invariant } from "@heddle/tensor";

/** A cache slot handed to a request, with how many leading prompt tokens it already holds. */
export interface SlotLease {
  readonly slot: number;
  readonly numCached: number;
}

/** Hands out the rows of the key/value cache, the resource that bounds how many requests run at once. */
export interface SlotPool {
  readonly numSlots: number;
  readonly numFree: number;
  /** Leases a slot for a prompt, or returns undefined when all are taken. Prefix caching answers `numCached` > 0. */
  acquire(prompt: readonly number[]): SlotLease | undefined;
  release(slot: number): void;
}

/** Creates a pool of interchangeable slots without prefix caching: every lease starts empty. */
export function createSlotPool(numSlots: number): SlotPool {
  const free = Array.from({ length: numSlots }, (_, i) => numSlots - 1 - i);
  return {
    numSlots,
    get numFree() {
      return free.length;
    },
    acquire() {
      const slot = free.pop();
      return slot === undefined ? undefined : { slot, numCached: 0 };
    },
    release(slot) {
      invariant(!free.includes(slot), `cache slot ${slot} is released twice`);
      free.push(slot);
    },
  };
}
