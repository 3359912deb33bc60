import {
  type Device,
  defineOp,
  type FloatDType,
  HeddleError,
  isFloat,
  type Op,
  scope,
  type Tensor,
  type TensorType,
  zeros,
} from "@heddle/tensor";
import { appendKvWasm } from "./kernels/append-kv.wasm.js";

/** Keys and values of one model layer: one row of `maxSeqLen` positions per slot and kv head. */
export interface KvCacheLayer {
  /** [numSlots, G, maxSeqLen, D] */
  readonly key: Tensor;
  /** [numSlots, G, maxSeqLen, Dv] */
  readonly value: Tensor;
}

/** A contiguous cache: a plain tree of tensors. Free it with `disposeTree`. */
export interface KvCache {
  readonly layers: readonly KvCacheLayer[];
}

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
 * @returns a tree of tensors that the caller owns (`disposeTree(cache)`)
 * @throws HeddleError "config" if a count is not a whole number above 0
 */
export function createKvCache(device: Device, options: KvCacheOptions): KvCache {
  const { numLayers, numSlots, maxSeqLen, numKvHeads, headDim, valueDim = headDim } = options;
  const counts = { numLayers, numSlots, maxSeqLen, numKvHeads, headDim, valueDim };
  for (const [name, value] of Object.entries(counts)) checkCount(name, value);
  const dtype = options.dtype ?? device.defaultFloat;
  const layers = Array.from({ length: numLayers }, () => ({
    key: zeros(device, [numSlots, numKvHeads, maxSeqLen, headDim], { dtype }),
    value: zeros(device, [numSlots, numKvHeads, maxSeqLen, valueDim], { dtype }),
  }));
  return { layers };
}

function checkCount(name: string, value: number): void {
  if (Number.isInteger(value) && value > 0) return;
  throw new HeddleError(
    "config",
    `createKvCache: ${name} must be a whole number above 0; got ${name} ${value}. Take it from the model's config.`,
    { [name]: value },
  );
}

/** Where the rows of a batch live in a cache. Both are tensors, so that one compiled step serves every batch. */
export interface CacheRows {
  /** Slot of each batch row, int32 [B]. Rows may share a slot if their positions differ. */
  readonly slots: Tensor;
  /** Position of each row's first new token, int32 [B]. */
  readonly starts: Tensor;
}

/**
 * Writes new keys and values into a cache layer, in place: row b, token t goes to slot slots[b], position starts[b] + t.
 *
 * Shapes: key [B, G, T, D], value [B, G, T, Dv], slots and starts [B] int32. Not differentiable. Floats of another dtype
 * than the cache's are rounded to it.
 * Rows whose slot or positions lie outside of the cache are not written (`checkCacheRows` finds them on the host); no two
 * rows may name the same position of one slot.
 * @throws HeddleError "shape" or "dtype" if the tensors do not fit the layer
 */
export function appendKv(layer: KvCacheLayer, key: Tensor, value: Tensor, rows: CacheRows): void {
  const { slots, starts } = rows;
  const rounded = (x: Tensor, { dtype }: Tensor) =>
    x.dtype === dtype || !isFloat(x.dtype) ? x : x.cast(dtype);
  scope(key.device, () => {
    const fresh = [rounded(key, layer.key), rounded(value, layer.value)];
    return appendKvOp.apply([layer.key, layer.value, ...fresh, slots, starts], {});
  });
}

/**
 * Checks rows whose slots and positions are known on the host before they are sent to a device.
 *
 * @param rows.slots, rows.starts  one number per batch row; `length` new tokens a row
 * @throws HeddleError "capacity" naming the first row that does not fit
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

const appendKvOp: Op<Record<string, never>> = defineOp({
  name: "appendKv",
  mutates: [0, 1],
  infer(inputs) {
    checkAppend(inputs as AppendTypes);
    return [];
  },
  evaluate(inputs) {
    const [keys, values, key, value, slots, starts] = inputs;
    if (!keys || !values || !key || !value || !slots || !starts) return;
    const copy = (target: typeof keys, source: typeof key) => {
      const [numSlots = 0, numKvHeads = 0, maxSeqLen = 0, width = 0] = target.shape;
      const [batch = 0, , length = 0] = source.shape;
      for (let row = 0; row < batch; row++) {
        const slot = slots.data[row] ?? -1;
        const start = starts.data[row] ?? -1;
        if (slot < 0 || slot >= numSlots || start < 0 || start + length > maxSeqLen) continue;
        for (let head = 0; head < numKvHeads; head++) {
          const from = (row * numKvHeads + head) * length * width;
          const to = ((slot * numKvHeads + head) * maxSeqLen + start) * width;
          target.data.set(source.data.subarray(from, from + length * width), to);
        }
      }
    };
    copy(keys, key);
    copy(values, value);
  },
  kernels: { wasm: appendKvWasm },
});

type AppendTypes = readonly [TensorType, TensorType, TensorType, TensorType, TensorType, TensorType];

function checkAppend([keys, values, key, value, slots, starts]: AppendTypes): void {
  const pairs = [
    { name: "key", stored: keys, fresh: key },
    { name: "value", stored: values, fresh: value },
  ];
  for (const { name, stored, fresh } of pairs) {
    const [, numKvHeads, maxSeqLen = 0, width] = stored.shape;
    const [batch, heads, length = 0, freshWidth] = fresh.shape;
    const fits =
      fresh.shape.length === 4 &&
      heads === numKvHeads &&
      freshWidth === width &&
      length <= maxSeqLen &&
      batch === key.shape[0] &&
      length === key.shape[2];
    if (!fits) {
      throw new HeddleError(
        "shape",
        `appendKv: ${name} must be [batch, ${numKvHeads}, length <= ${maxSeqLen}, ${width}] to fit the cache; got ${name} [${fresh.shape.join(", ")}]. Create the cache with the model's numKvHeads and headDim.`,
        { [name]: fresh.shape, cache: stored.shape },
      );
    }
    if (!isFloat(fresh.dtype)) {
      throw new HeddleError(
        "dtype",
        `appendKv: ${name} must be a float; got ${fresh.dtype}. Cast it to ${stored.dtype} first.`,
        { [name]: fresh.dtype, cache: stored.dtype },
      );
    }
  }
  checkRowTypes("appendKv", { slots, starts }, key.shape[0] ?? 0);
}

/** Checks that slots and starts are int32 [B]. */
export function checkRowTypes(
  caller: string,
  rows: { readonly slots: TensorType; readonly starts: TensorType },
  batch: number,
): void {
  for (const [name, { shape, dtype }] of Object.entries(rows)) {
    if (shape.length === 1 && shape[0] === batch && dtype === "i32") continue;
    throw new HeddleError(
      dtype === "i32" ? "shape" : "dtype",
      `${caller}: ${name} must be i32 [${batch}], one number per batch row; got ${name} ${dtype}[${shape.join(", ")}]. Create it from an Int32Array of length ${batch}.`,
      { [name]: shape, dtype },
    );
  }
}
