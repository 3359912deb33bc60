import { type Device, type FloatDType, HeddleError, scope, type Tensor, zeros } from "@heddle/tensor";
import { appendQuantised } from "./append-quantised.js";
import { appendRows, type CacheRows } from "./append-rows.js";
import type { Placement } from "./cache-placement.js";
import type { KvCache, KvCacheLayer, KvLayer, QuantisedKvLayer } from "./kv-layer.js";

/** Extents of a contiguous cache. */
export interface KvCacheOptions {
  readonly numLayers: number;
  /** Sequences that it holds at once. Rows that pad a batch name a slot outside of the cache, such as `numSlots`. */
  readonly numSlots: number;
  /** Positions of each slot, in tokens. */
  readonly maxSeqLen: number;
  readonly numKvHeads: number;
  readonly headDim: number;
  /** Features of a value. Default headDim. */
  readonly valueDim?: number;
  /** Default: the device's float. */
  readonly dtype?: FloatDType;
}

/**
 * Creates a contiguous cache of keys and values, filled with zeros.
 *
 * Memory: numLayers x numSlots x numKvHeads x maxSeqLen x (headDim + valueDim) elements. Keys lie position after position, so
 * that a decoding step reads them as one stream.
 * @returns a tree of tensors that the caller owns (`disposeTree(cache)`): key [numSlots, G, maxSeqLen, D], value [.., Dv]
 * @throws HeddleError "config" if a count is not a whole number above 0
 * @see Pope et al. 2022, arXiv:2211.05102, section 3
 */
export function createKvCache(device: Device, options: KvCacheOptions): KvCache {
  const { numLayers, numSlots, maxSeqLen, numKvHeads, headDim, valueDim = headDim } = options;
  const counts = { numLayers, numSlots, maxSeqLen, numKvHeads, headDim, valueDim };
  for (const [name, value] of Object.entries(counts)) checkCount(name, value);
  const dtype = options.dtype ?? device.defaultFloat;
  return scope(device, () => ({
    layers: Array.from({ length: numLayers }, () => ({
      key: zeros(device, [numSlots, numKvHeads, maxSeqLen, headDim], { dtype }),
      value: zeros(device, [numSlots, numKvHeads, maxSeqLen, valueDim], { dtype }),
    })),
  }));
}

function checkCount(name: string, value: number): void {
  if (Number.isInteger(value) && value > 0) return;
  throw new HeddleError(
    "config",
    `createKvCache: ${name} must be a whole number above 0; got ${name} ${value}. Take it from the model's config.`,
    { [name]: value },
  );
}

/**
 * Writes new keys and values into a cache layer, in place: row b, token t goes to slot slots[b], position starts[b] + t.
 *
 * Shapes: key [B, G, T, D], value [B, G, T, Dv], slots and starts [B] int32. Not differentiable. Floats of another dtype
 * than the cache's are rounded to it.
 * Rows whose slot or positions lie outside of the cache are not written (`checkCacheRows` finds them on the host); no two
 * rows may name the same position of one slot.
 * @returns nothing: the layer's tensors change
 * @throws HeddleError "shape" or "dtype" if the tensors do not fit the layer
 * @see Pope et al. 2022, arXiv:2211.05102, section 3; the source of each kind of cache
 */
export function appendKv(layer: KvLayer, key: Tensor, value: Tensor, rows: CacheRows): void {
  if (layer.kind === "quantised") {
    appendQuantised(layer, key, value, rows);
    return;
  }
  const { placement, table } = placementOf(layer);
  appendRows({ key: layer.key, value: layer.value }, { key, value }, { ...rows, placement, table });
}

/** Where a layer keeps its rows. */
export function placementOf(layer: Exclude<KvLayer, QuantisedKvLayer>): {
  readonly placement: Placement;
  readonly table?: Tensor;
} {
  switch (layer.kind) {
    case undefined:
    case "contiguous":
      return { placement: "contiguous" };
    case "sliding":
      return { placement: "ring" };
    case "paged":
      return { placement: "paged", table: layer.table };
    default:
      return layer satisfies never;
  }
}

/**
 * Checks rows whose slots and positions are known on the host before they are sent to a device.
 *
 * @param rows.slots, rows.starts  one number per batch row, [B]; `length` new tokens a row
 * @returns nothing, if all rows fit
 * @throws HeddleError "capacity" naming the first row that does not fit
 * @see `appendKv`, which passes over the rows that this finds
 */
export function checkCacheRows(
  layer: KvCacheLayer,
  rows: { readonly slots: ArrayLike<number>; readonly starts: ArrayLike<number>; readonly length: number },
): void {
  const [numSlots = 0, , maxSeqLen = 0] = layer.key.shape;
  for (let row = 0; row < rows.slots.length; row++) {
    const slot = rows.slots[row] ?? -1;
    const start = rows.starts[row] ?? -1;
    if (slot >= 0 && slot < numSlots && start >= 0 && start + rows.length <= maxSeqLen) continue;
    throw new HeddleError(
      "capacity",
      `checkCacheRows: every row needs a slot below numSlots and room for its tokens; got row ${row} with slot ${slot} of ${numSlots}, start ${start} + length ${rows.length} of maxSeqLen ${maxSeqLen}. Stop or shorten the sequence, or create a larger cache.`,
      { row, slot, numSlots, start, length: rows.length, maxSeqLen },
    );
  }
}
