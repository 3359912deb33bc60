import { HeddleError, invariant } from "@heddle/tensor";

export interface PageTableOptions {
  readonly numPages: number;
  /** Positions of a page: a power of two. */
  readonly pageSize: number;
  readonly numSlots: number;
  /** Most positions of a slot. */
  readonly maxSeqLen: number;
}

/** A page whose rows must be copied to another before either is written to. */
export interface PageCopy {
  readonly from: number;
  readonly to: number;
}

/**
 * Which pages each slot's positions lie in: the bookkeeping of a paged cache, without tensors. Pages are counted, so that slots
 * may share them; a shared page is copied when one of its owners writes to it.
 *
 * @see Kwon et al. 2023, PagedAttention, arXiv:2309.06180, section 4 (their block = page, block table = entries)
 */
export interface PageTable {
  readonly pageSize: number;
  readonly pagesPerSlot: number;
  /** Page of each slot's positions, [numSlots, pagesPerSlot], -1 = none. */
  readonly entries: Int32Array;
  readonly numFreePages: number;
  /** Number of slots that hold a page. */
  owners(page: number): number;
  /**
   * Makes positions from..to-1 of a slot writable: gives it pages that it lacks, and pages of its own where it shares them.
   * @returns copies to make before writing
   * @throws HeddleError "capacity" if no page is left; nothing is changed then
   */
  reserve(slot: number, range: { readonly from: number; readonly to: number }): readonly PageCopy[];
  /** Lets slot `to` hold the first `length` positions of slot `from`, without copying; what `to` had is released. */
  fork(from: number, to: number, length: number): void;
  /** Keeps the first `length` positions of a slot and releases the pages behind. */
  crop(slot: number, length: number): void;
  /** Lets slot i hold what slot order[i] held, for all slots at once, without copying. */
  reorder(order: ArrayLike<number>): void;
}

/**
 * Creates an empty table.
 *
 * @throws HeddleError "config" if a count is not a whole number above 0 or pageSize no power of two
 */
export function createPageTable(options: PageTableOptions): PageTable {
  const { numPages, pageSize, numSlots, maxSeqLen } = options;
  checkSizes({ numPages, pageSize, numSlots, maxSeqLen });
  const pagesPerSlot = Math.ceil(maxSeqLen / pageSize);
  const entries = new Int32Array(numSlots * pagesPerSlot).fill(-1);
  const counts = new Int32Array(numPages);
  const free = Array.from({ length: numPages }, (_, i) => numPages - 1 - i);
  const release = (at: number) => {
    const page = entries[at] ?? -1;
    entries[at] = -1;
    if (page < 0) return;
    const left = (counts[page] ?? 0) - 1;
    invariant(left >= 0, "a page was released that nobody held");
    counts[page] = left;
    if (left === 0) free.push(page);
  };
  const first = (slot: number) => {
    if (Number.isInteger(slot) && slot >= 0 && slot < numSlots) return slot * pagesPerSlot;
    throw new HeddleError(
      "capacity",
      `pageTable: slots are 0..${numSlots - 1}; got slot ${slot}. Create the cache with more slots.`,
      { slot, numSlots },
    );
  };
  const keepPages = (slot: number, length: number) => {
    const base = first(slot);
    for (let page = Math.ceil(length / pageSize); page < pagesPerSlot; page++) release(base + page);
  };
  return {
    pageSize,
    pagesPerSlot,
    entries,
    get numFreePages() {
      return free.length;
    },
    owners: (page) => counts[page] ?? 0,
    reserve(slot, { from, to }) {
      const base = first(slot);
      checkRange({ slot, from, to, maxSeqLen });
      const wanted: number[] = [];
      for (let page = Math.floor(from / pageSize); page < Math.ceil(to / pageSize); page++) {
        const entry = entries[base + page] ?? -1;
        if (entry < 0 || (counts[entry] ?? 0) > 1) wanted.push(base + page);
      }
      if (wanted.length > free.length) failFull({ slot, wanted: wanted.length, free: free.length, numPages });
      return wanted.flatMap((at) => {
        const shared = entries[at] ?? -1;
        release(at);
        const page = free.pop();
        invariant(page !== undefined, "free pages were counted before they were taken");
        counts[page] = 1;
        entries[at] = page;
        return shared < 0 ? [] : [{ from: shared, to: page }];
      });
    },
    fork(from, to, length) {
      const [source, target] = [first(from), first(to)];
      if (source === target) return;
      keepPages(to, 0);
      for (let page = 0; page < Math.ceil(length / pageSize); page++) {
        const entry = entries[source + page] ?? -1;
        entries[target + page] = entry;
        if (entry >= 0) counts[entry] = (counts[entry] ?? 0) + 1;
      }
    },
    crop: keepPages,
    reorder(order) {
      const sources = Array.from(order, first);
      const before = entries.slice();
      const after = before.map((_, at) => {
        const slot = Math.floor(at / pagesPerSlot);
        return before[(sources[slot] ?? 0) + at - slot * pagesPerSlot] ?? -1;
      });
      // Pages gain their new owners before they lose the old ones, so that none is free in between.
      for (const page of after) if (page >= 0) counts[page] = (counts[page] ?? 0) + 1;
      for (const at of entries.keys()) release(at);
      entries.set(after);
    },
  };
}

function checkSizes(
  sizes: Readonly<Record<"numPages" | "pageSize" | "numSlots" | "maxSeqLen", number>>,
): void {
  for (const [name, value] of Object.entries(sizes)) {
    if (Number.isInteger(value) && value > 0) continue;
    throw new HeddleError(
      "config",
      `createPagedKvCache: ${name} must be a whole number above 0; got ${name} ${value}. Take it from the model's config.`,
      { [name]: value },
    );
  }
  const { pageSize } = sizes;
  if (2 ** Math.round(Math.log2(pageSize)) === pageSize) return;
  throw new HeddleError(
    "config",
    `createPagedKvCache: pageSize must be a power of two; got pageSize ${pageSize}. Use ${2 ** Math.ceil(Math.log2(pageSize))}.`,
    { pageSize },
  );
}

function checkRange(range: { slot: number; from: number; to: number; maxSeqLen: number }): void {
  const { slot, from, to, maxSeqLen } = range;
  if (from >= 0 && from <= to && to <= maxSeqLen) return;
  throw new HeddleError(
    "capacity",
    `pageTable: positions must lie in 0..maxSeqLen; got slot ${slot}, positions ${from}..${to} of ${maxSeqLen}. Stop or shorten the sequence, or create a larger cache.`,
    range,
  );
}

function failFull(state: { slot: number; wanted: number; free: number; numPages: number }): never {
  const { slot, wanted, free, numPages } = state;
  throw new HeddleError(
    "capacity",
    `pageTable: a page must be free for each new one; got slot ${slot} in want of ${wanted}, ${free} of ${numPages} free. Crop or release another slot, or create the cache with more pages.`,
    state,
  );
}
