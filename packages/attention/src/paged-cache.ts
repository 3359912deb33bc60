import { type Device, type FloatDType, scope, tensor, writeInto, zeros } from "@heddle/tensor";
import { copyBlocks } from "./copy-blocks.js";
import type { KvCache, PagedKvLayer } from "./kv-layer.js";
import { createPageTable, type PageCopy, type PageTable, type PageTableOptions } from "./page-table.js";

/** Extents of a paged cache. */
export interface PagedKvCacheOptions extends PageTableOptions {
  readonly numLayers: number;
  readonly numKvHeads: number;
  readonly headDim: number;
  /** Features of a value. Default headDim. */
  readonly valueDim?: number;
  /** Default: the device's float. */
  readonly dtype?: FloatDType;
}

/** A paged cache: its tensors, and who holds which page. */
export interface PagedKvCache {
  /** A plain tree of tensors: what steps take. Free it with `disposeTree`. */
  readonly cache: KvCache<PagedKvLayer>;
  /** Who holds which page. Change it through the functions beside it: they keep the tensors in step. */
  readonly pages: PageTable;
  /**
   * Makes positions from..to-1 of a slot writable, before `appendKv` writes there; shared pages are copied first.
   * @throws HeddleError "capacity" if no page is left or the positions exceed maxSeqLen; nothing is changed then
   */
  reserve(slot: number, range: { readonly from: number; readonly to: number }): void;
  /** Lets slot `to` begin with the first `length` positions of slot `from`: no row is copied until one of them writes. */
  fork(from: number, to: number, length: number): void;
  /** Keeps the first `length` positions of a slot; 0 releases it. */
  crop(slot: number, length: number): void;
  /** Lets slot i hold what slot order[i] held, for all slots at once: pages are shared, no row is copied. */
  reorder(order: ArrayLike<number>): void;
}

/**
 * Creates a cache in pages: a slot takes memory for the positions that it has, and slots share equal beginnings.
 *
 * Memory: numLayers x numPages x pageSize x numKvHeads x (headDim + valueDim) elements. `reserve` before a step that appends; a
 * position without a page is not written, and read as zeros.
 * @returns tensors and bookkeeping; the caller disposes `cache`
 * @throws HeddleError "config" if a count is not a whole number above 0 or pageSize no power of two
 * @see Kwon et al. 2023, PagedAttention, arXiv:2309.06180
 */
export function createPagedKvCache(device: Device, options: PagedKvCacheOptions): PagedKvCache {
  const { numPages, pageSize, numSlots, numKvHeads, headDim, valueDim = headDim } = options;
  const dtype = options.dtype ?? device.defaultFloat;
  const pages = createPageTable(options);
  const { table, cache } = scope(device, () => {
    const table = tensor(device, pages.entries, { shape: [numSlots, pages.pagesPerSlot] });
    const layers = Array.from({ length: options.numLayers }, () => ({
      kind: "paged" as const,
      key: zeros(device, [numPages, numKvHeads, pageSize, headDim], { dtype }),
      value: zeros(device, [numPages, numKvHeads, pageSize, valueDim], { dtype }),
      table,
    }));
    return { table, cache: { layers } };
  });
  const upload = () => {
    using fresh = tensor(device, pages.entries, { shape: table.shape });
    writeInto(table, fresh);
  };
  return {
    cache,
    pages,
    reserve(slot, range) {
      const before = pages.entries.slice();
      copyPages(cache, pages.reserve(slot, range));
      if (pages.entries.some((page, i) => page !== before[i])) upload();
    },
    fork(from, to, length) {
      pages.fork(from, to, length);
      upload();
    },
    crop(slot, length) {
      pages.crop(slot, length);
      upload();
    },
    reorder(order) {
      pages.reorder(order);
      upload();
    },
  };
}

function copyPages({ layers }: KvCache<PagedKvLayer>, copies: readonly PageCopy[]): void {
  const [first] = layers;
  if (copies.length === 0 || first === undefined) return;
  const { device } = first.key;
  scope(device, () => {
    const from = tensor(
      device,
      Int32Array.from(copies, (copy) => copy.from),
    );
    const to = tensor(
      device,
      Int32Array.from(copies, (copy) => copy.to),
    );
    for (const { key, value } of layers) {
      copyBlocks(key, { from, to });
      copyBlocks(value, { from, to });
    }
    return undefined;
  });
}
