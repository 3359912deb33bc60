import {
  arange,
  defineOp,
  HeddleError,
  isFloat,
  type Op,
  scope,
  type Tensor,
  type TensorType,
  take,
  where,
} from "@heddle/tensor";
import { type CacheRows, checkRowTypes } from "./append-rows.js";
import { gatherRows, placementExtents } from "./cache-placement.js";
import {
  type CachedAttentionParams,
  type CachedInput,
  cachedInputs,
  type QuantisedInput,
  reachOf,
} from "./cached-params.js";
import { cachedAttentionWasm } from "./kernels/cached-attention.wasm.js";
import { cachedAttentionWgsl } from "./kernels/cached-attention.wgsl.js";
import { placementOf } from "./kv-cache.js";
import type { KvLayer } from "./kv-layer.js";
import { naiveAttention } from "./naive.js";
import { dequantiseRows, type QuantisedFormat } from "./quantised-format.js";

/** What decides the scores of cached attention beside query and key. */
export interface CachedScoreOptions {
  /** Multiplies query-key products. Default 1 / sqrt(D). */
  readonly scale?: number;
  /** Caps scaled scores at +-softcap by tanh. Default: no cap. */
  readonly softcap?: number;
  /** Added to scores, by position of the key: [B or 1, H or 1, T, S], S = positions of a slot. */
  readonly bias?: Tensor;
  /** One logit a head that takes weight but gives no value: [H]. */
  readonly sinks?: Tensor;
}

/** Which rows a cached call is about, and what decides their scores. */
export interface CachedAttentionOptions extends CacheRows, CachedScoreOptions {
  /** Positions that a query sees, its own included. Default: all up to its own. */
  readonly window?: number;
  /** A query sees only its own chunk: positions floor(p / chunk) chunk .. p. Default: all. */
  readonly chunk?: number;
  /**
   * Added to scores, by how many tokens the key lies before the query: [H or 1, N], N >= positions that a query may see.
   * ALiBi (`distanceTable`), T5's decoder and every other bias of distance alone.
   */
  readonly distanceBias?: Tensor;
}

/**
 * Attends to cached keys and values, causally: row b, query t stands at position p = starts[b] + t and sees positions 0..p of
 * slot slots[b]. Call `appendKv` with the same rows first.
 *
 * Shapes: query [B, H, T, D], layer as of `createKvCache`, slots and starts [B] int32 -> [B, H, T, Dv]. A decoding step has
 * T = 1; a chunk of a prompt is [1, T], or T rows of one slot with T = 1 each. Lengths are read from memory at each run, so
 * that one compiled step serves every length. Rows outside of the cache give zeros. Not differentiable.
 * @returns a new tensor of the query's dtype (computed in f32, also over a half-precision cache); the caller disposes it
 * @throws HeddleError "shape", "dtype" or "config" if the tensors or options do not fit
 * @see Pope et al. 2022, arXiv:2211.05102, section 3 (caching); Dao et al. 2023, Flash-Decoding. Twin: naive.ts
 */
export function cachedAttention(query: Tensor, layer: KvLayer, options: CachedAttentionOptions): Tensor {
  const { chunk, distanceBias } = options;
  checkExtent("window", options.window);
  checkExtent("chunk", chunk);
  const window =
    layer.kind === "sliding" ? Math.min(layer.window, options.window ?? layer.window) : options.window;
  const left = window === undefined ? undefined : window - 1;
  return attendCached(query, layer, {
    ...options,
    ...storedIn(layer),
    distanceBias,
    left,
    chunk,
    isCausal: true,
  });
}

/** Which cached sequence each row of a batch looks at, and what decides its scores. */
export interface CrossAttentionOptions extends CachedScoreOptions {
  /** Slot of each batch row, int32 [B]. */
  readonly slots: Tensor;
  /** Number of keys of each row, int32 [B]. */
  readonly lengths: Tensor;
}

/**
 * Attends to the keys of another sequence, kept in a cache: every query of row b sees positions 0..lengths[b]-1 of slot
 * slots[b]. Write them once with `appendKv`, `starts` being zeros.
 *
 * Shapes: query [B, H, T, D], layer as of `createKvCache`, slots and lengths [B] int32 -> [B, H, T, Dv]. Lengths are read from
 * memory at each run. Rows with no keys or outside of the cache give zeros. Not differentiable (`attention` is).
 * @returns a new tensor of the query's dtype; the caller disposes it
 * @throws HeddleError "shape", "dtype" or "config" if the tensors or options do not fit
 * @see Vaswani et al. 2017, arXiv:1706.03762, section 3.2.3 (encoder-decoder attention). Twin: naive.ts
 */
export function crossAttention(query: Tensor, layer: KvLayer, options: CrossAttentionOptions): Tensor {
  const { lengths, ...rest } = options;
  if (layer.kind === "sliding") {
    throw new HeddleError(
      "unsupported",
      "crossAttention: the cache must keep all keys; got a sliding cache. Use createKvCache or createPagedKvCache.",
      { kind: layer.kind },
    );
  }
  return scope(query.device, () => {
    const starts = lengths.sub(query.shape[2] ?? 0);
    return attendCached(query, layer, { ...rest, ...storedIn(layer), starts, isCausal: false });
  });
}

type AttendOptions = CacheRows &
  CachedScoreOptions &
  Pick<CachedAttentionParams, "placement" | "left" | "chunk" | "isCausal" | "valueDim" | "format"> & {
    readonly table?: Tensor | undefined;
    readonly distanceBias?: Tensor | undefined;
    readonly stores?: { readonly [name in QuantisedInput]: Tensor } | undefined;
  };

/** Runs the op over a layer whose `value` may be absent: then a key's first `valueDim` features are its value. */
export function attendCached(
  query: Tensor,
  layer: { readonly key: Tensor; readonly value?: Tensor },
  options: AttendOptions,
): Tensor {
  const { slots, starts, softcap, left, chunk, isCausal, valueDim, placement } = options;
  const scale = options.scale ?? 1 / Math.sqrt(query.shape[3] ?? 1);
  checkScores(scale, softcap);
  const compute = query.device.defaultFloat;
  return scope(query.device, () => {
    const widen = (x: Tensor | undefined) => (x === undefined || x.dtype === compute ? x : x.cast(compute));
    const named: readonly (readonly [CachedInput, Tensor | undefined])[] = [
      ["query", query],
      ["key", layer.key],
      ["value", layer.value],
      ["slots", slots],
      ["starts", starts],
      ["table", options.table],
      ["bias", widen(options.bias)],
      ["distanceBias", widen(options.distanceBias)],
      ["sinks", widen(options.sinks)],
      ...quantisedNames.map((name) => [name, options.stores?.[name]] as const),
    ];
    const given = named.filter((entry): entry is readonly [CachedInput, Tensor] => entry[1] !== undefined);
    const params: CachedAttentionParams = {
      placement,
      scale,
      softcap,
      left,
      chunk,
      isCausal,
      valueDim,
      format: options.format,
      inputs: given.map(([name]) => name),
    };
    return cachedAttentionOp.call(
      given.map(([, tensor]) => tensor),
      params,
    );
  });
}

const quantisedNames = ["keyScale", "keyMin", "keyTail", "valueScale", "valueMin"] as const;

/** What a layer adds to the options of the op. */
function storedIn(layer: KvLayer): Pick<AttendOptions, "placement" | "table" | "format" | "stores"> {
  if (layer.kind !== "quantised") return placementOf(layer);
  const { bits, group } = layer;
  return { placement: "contiguous", format: { bits, group }, stores: layer };
}

function checkExtent(name: "window" | "chunk", value: number | undefined): void {
  if (value === undefined || (Number.isInteger(value) && value > 0)) return;
  throw new HeddleError(
    "config",
    `cachedAttention: ${name} must be a whole number above 0; got ${name} ${value}. Leave it out to see everything.`,
    { [name]: value },
  );
}

function checkScores(scale: number, softcap: number | undefined): void {
  if (!Number.isFinite(scale)) {
    throw new HeddleError(
      "config",
      `cachedAttention: scale must be a finite number; got scale ${scale}. Leave it out for the default.`,
      { scale },
    );
  }
  if (softcap === undefined || (softcap > 0 && Number.isFinite(softcap))) return;
  throw new HeddleError(
    "config",
    `cachedAttention: softcap must be a finite number above 0; got softcap ${softcap}. Leave it out for the default.`,
    { softcap },
  );
}

/** Cached attention as an op, which `cachedAttention` and `crossAttention` call. */
export const cachedAttentionOp: Op<CachedAttentionParams> = defineOp({
  name: "cachedAttention",
  infer: inferCachedAttention,
  reference: cachedAttentionReference,
  kernels: { wasm: cachedAttentionWasm, wgsl: cachedAttentionWgsl },
});

function inferCachedAttention(
  inputs: readonly TensorType[],
  params: CachedAttentionParams,
): readonly TensorType[] {
  const { query, key, value, slots, starts, ...rules } = cachedInputs(inputs, params) as {
    readonly [name in "query" | "key" | "slots" | "starts"]: TensorType;
  } & { readonly [name in CachedInput]?: TensorType };
  const [batch = 0, numHeads = 0, queryLen = 0, headDim] = query.shape;
  const [, numKvHeads = 0] = key.shape;
  const keyDim = rules.keyTail?.shape[3] ?? key.shape[3];
  const { maxSeqLen, blockRows } = placementExtents(params.placement, key, rules.table);
  const fits =
    query.shape.length === 4 &&
    headDim === keyDim &&
    numHeads > 0 &&
    numKvHeads > 0 &&
    numHeads % numKvHeads === 0;
  if (!fits) {
    throw new HeddleError(
      "shape",
      `cachedAttention: query must be [batch, heads, seq, ${keyDim}] with heads a multiple of ${numKvHeads}; got query [${query.shape.join(", ")}], cached key [${key.shape.join(", ")}]. Create the cache with the model's numKvHeads and headDim.`,
      { query: query.shape, key: key.shape },
    );
  }
  if (!isFloat(query.dtype)) {
    throw new HeddleError(
      "dtype",
      `cachedAttention: query must be a float; got ${query.dtype}. Cast it to ${key.dtype} first.`,
      { query: query.dtype, key: key.dtype },
    );
  }
  checkRowTypes("cachedAttention", { slots, starts }, batch);
  if (params.placement === "ring" && (params.left ?? 0) + queryLen > blockRows) {
    throw new HeddleError(
      "capacity",
      `cachedAttention: a sliding cache needs room for the window and all new tokens; got window ${(params.left ?? 0) + 1} and ${queryLen} tokens, capacity ${blockRows}. Create it with maxNewTokens ${queryLen}, or attend in shorter chunks.`,
      { window: (params.left ?? 0) + 1, queryLen, capacity: blockRows },
    );
  }
  if (params.placement === "ring" && rules.bias !== undefined) {
    throw new HeddleError(
      "unsupported",
      "cachedAttention: a bias by key position needs a cache that keeps all positions; got a sliding cache. Use distanceBias.",
      {},
    );
  }
  const reach = reachOf(params, maxSeqLen);
  const check = (
    name: string,
    shape: readonly number[] | undefined,
    allowed: readonly (readonly number[])[],
  ) => checkRule(name, { shape, allowed, isLastLeast: name === "distanceBias" });
  check("bias", rules.bias?.shape, [[batch, 1], [numHeads, 1], [queryLen], [maxSeqLen]]);
  check("distanceBias", rules.distanceBias?.shape, [[numHeads, 1], [reach]]);
  check("sinks", rules.sinks?.shape, [[numHeads]]);
  const width = params.valueDim ?? ((value?.shape[3] ?? 0) * 8) / (params.format?.bits ?? 8);
  return [{ shape: [batch, numHeads, queryLen, width], dtype: query.dtype }];
}

function checkRule(
  name: string,
  {
    shape,
    allowed,
    isLastLeast,
  }: {
    readonly shape: readonly number[] | undefined;
    readonly allowed: readonly (readonly number[])[];
    readonly isLastLeast: boolean;
  },
): void {
  if (shape === undefined) return;
  const last = allowed.length - 1;
  const fits =
    shape.length === allowed.length &&
    allowed.every((extents, axis) => {
      const extent = shape[axis] ?? -1;
      return isLastLeast && axis === last ? extent >= (extents[0] ?? 0) : extents.includes(extent);
    });
  if (fits) return;
  const wanted = allowed.map((extents, axis) => {
    const text = [...new Set(extents)].join(" or ");
    return isLastLeast && axis === last ? `at least ${text}` : text;
  });
  throw new HeddleError(
    "shape",
    `cachedAttention: ${name} must be [${wanted.join(", ")}]; got ${name} [${shape.join(", ")}]. Reshape it, or broadcast it over the missing axes.`,
    { [name]: shape },
  );
}

/** The op as a composition: gathers what a row may see, masks what a query does not, attends naively. */
function cachedAttentionReference(
  inputs: readonly Tensor[],
  params: CachedAttentionParams,
): readonly Tensor[] {
  if (params.format !== undefined) return quantisedReference(inputs, { ...params, format: params.format });
  const { query, key, value, slots, starts, table, bias, distanceBias, sinks } = cachedInputs(
    inputs,
    params,
  ) as { readonly [name in "query" | "key" | "slots" | "starts"]: Tensor } & {
    readonly [name in CachedInput]?: Tensor;
  };
  const [batch = 0, numHeads = 0, queryLen = 0] = query.shape;
  const { placement, valueDim = 0 } = params;
  const extents = placementExtents(placement, key, table);
  const compute = query.device.defaultFloat;
  const positions = keyPositions(params, { starts, queryLen, maxSeqLen: extents.maxSeqLen });
  const count = positions.shape[1] ?? 0;
  const place = { placement, slots, positions, table };
  const keys = gatherRows(key, place).cast(compute);
  const values = value === undefined ? keys.narrow(3, 0, valueDim) : gatherRows(value, place).cast(compute);
  const tokens = arange(query.device, queryLen, { dtype: "i32" }).reshape([1, 1, queryLen, 1]);
  const start = starts.reshape([batch, 1, 1, 1]);
  const position = start.add(tokens);
  const keyPosition = positions.reshape([batch, 1, 1, count]);
  const hasSlot = slots.greaterEqual(0).logicalAnd(slots.less(extents.numSlots)).reshape([batch, 1, 1, 1]);
  const sees = seenPositions(params, {
    start,
    position,
    keyPosition,
    queryLen,
    maxSeqLen: extents.maxSeqLen,
  }).logicalAnd(hasSlot);
  const byKey = bias?.cast(compute);
  const shape = [batch, numHeads, queryLen, count];
  const near = distanceBias && byDistance(distanceBias.cast(compute), position.sub(keyPosition), shape);
  const added = byKey !== undefined && near !== undefined ? byKey.add(near) : (byKey ?? near);
  const stored = { key: keys, value: values, sees, sinks: sinks?.cast(compute) };
  return [naiveAttention(query.cast(compute), stored, { ...params, bias: added }).out.cast(query.dtype)];
}

/** The composition over codes: makes the rows of the batch floats, then goes on as over a contiguous cache of theirs. */
function quantisedReference(
  inputs: readonly Tensor[],
  params: CachedAttentionParams & { readonly format: QuantisedFormat },
): readonly Tensor[] {
  const { key, value, keyScale, keyMin, keyTail, valueScale, valueMin, ...rest } = cachedInputs(
    inputs,
    params,
  ) as { readonly [name in CachedInput]: Tensor };
  const { query, slots, starts } = rest;
  const ends = starts.add(query.shape[2] ?? 0);
  const stores = { key, keyScale, keyMin, keyTail, value, valueScale, valueMin };
  const [keys, values] = dequantiseRows(stores, { ...params.format, slots, ends });
  const numSlots = key.shape[0] ?? 0;
  const batch = slots.shape[0] ?? 0;
  // Each row has a slot of its own there; a row without a slot keeps none.
  const own = where(
    slots.greaterEqual(0).logicalAnd(slots.less(numSlots)),
    arange(slots.device, batch, { dtype: "i32" }),
    -1,
  );
  const named = { ...rest, key: keys, value: values, slots: own };
  const names = params.inputs.filter((name) => name in named);
  const tensors = names.map((name) => named[name as keyof typeof named] as Tensor);
  return cachedAttentionReference(tensors, { ...params, format: undefined, inputs: names });
}

/** Positions that the rows of a batch gather, [B, n]: all that a slot can have, or the last ones of a ring. */
function keyPositions(
  { placement, left = 0 }: CachedAttentionParams,
  at: { readonly starts: Tensor; readonly queryLen: number; readonly maxSeqLen: number },
): Tensor {
  const { starts, queryLen, maxSeqLen } = at;
  const { device } = starts;
  const batch = starts.shape[0] ?? 0;
  if (placement === "ring") {
    const offsets = arange(device, left + queryLen, { dtype: "i32" }).reshape([1, left + queryLen]);
    return starts.reshape([batch, 1]).sub(left).add(offsets);
  }
  const all = arange(device, maxSeqLen, { dtype: "i32" }).reshape([1, maxSeqLen]);
  return starts.reshape([batch, 1]).mul(0).add(all);
}

/** Which stored positions each query sees: bool, broadcasts to [B, 1, T, n]. */
function seenPositions(
  { left, chunk, isCausal }: CachedAttentionParams,
  at: {
    readonly start: Tensor;
    readonly position: Tensor;
    readonly keyPosition: Tensor;
    readonly queryLen: number;
    readonly maxSeqLen: number;
  },
): Tensor {
  const { start, position, keyPosition, queryLen, maxSeqLen } = at;
  const isInside = start.lessEqual(maxSeqLen - queryLen).logicalAnd(keyPosition.greaterEqual(0));
  if (!isCausal) return keyPosition.less(start.add(queryLen)).logicalAnd(isInside);
  let sees = keyPosition.lessEqual(position).logicalAnd(isInside).logicalAnd(start.greaterEqual(0));
  if (left !== undefined) sees = sees.logicalAnd(keyPosition.greaterEqual(position.sub(left)));
  if (chunk !== undefined) {
    const { defaultFloat } = position.device;
    // + 0.5: no quotient of whole numbers comes near a whole number from below.
    const first = position.cast(defaultFloat).add(0.5).div(chunk).floor().mul(chunk).cast("i32");
    sees = sees.logicalAnd(keyPosition.greaterEqual(first));
  }
  return sees;
}

/** table[h, distance], 0 where the distance is not in the table. Shapes: table [H or 1, N], distance [B, 1, T, S]. */
function byDistance(table: Tensor, distance: Tensor, [batch, , queryLen, keyLen]: readonly number[]): Tensor {
  const heads = table.shape[0] ?? 1;
  return take(table, distance.reshape([-1]), { axis: 1 })
    .reshape([heads, batch ?? 0, queryLen ?? 0, keyLen ?? 0])
    .transpose([1, 0, 2, 3]);
}
