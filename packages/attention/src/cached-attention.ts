import {
  arange,
  defineOp,
  HeddleError,
  isFloat,
  type Op,
  type Tensor,
  type TensorType,
  take,
} from "@heddle/tensor";
import { cachedAttentionWasm } from "./kernels/cached-attention.wasm.js";
import { type CacheRows, checkRowTypes, type KvCacheLayer } from "./kv-cache.js";
import { naiveAttention } from "./naive.js";

export interface CachedAttentionOptions extends CacheRows {
  /** Multiplies query-key products. Default 1 / sqrt(D). */
  readonly scale?: number;
  /** Caps scaled scores at +-softcap by tanh. Default: no cap. */
  readonly softcap?: number;
  /** Positions that a query sees, its own included. Default: all up to its own. */
  readonly window?: number;
}

/** What the op needs beside its tensors; plain data. */
export interface CachedAttentionParams {
  readonly scale: number;
  readonly softcap?: number | undefined;
  /** Keys before the query's own position that it sees; undefined = all. */
  readonly left?: number | undefined;
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
export function cachedAttention(query: Tensor, layer: KvCacheLayer, options: CachedAttentionOptions): Tensor {
  const { slots, starts, softcap, window } = options;
  const scale = options.scale ?? 1 / Math.sqrt(query.shape[3] ?? 1);
  if (window !== undefined && !(Number.isInteger(window) && window > 0)) {
    throw new HeddleError(
      "config",
      `cachedAttention: window must be a whole number above 0; got window ${window}. Leave it out to see everything.`,
      { window },
    );
  }
  const params: CachedAttentionParams = {
    scale,
    softcap,
    left: window === undefined ? undefined : window - 1,
  };
  return cachedAttentionOp.call([query, layer.key, layer.value, slots, starts], params);
}

const cachedAttentionOp: Op<CachedAttentionParams> = defineOp({
  name: "cachedAttention",
  infer: inferCachedAttention,
  reference: cachedAttentionReference,
  kernels: { wasm: cachedAttentionWasm },
});

function inferCachedAttention(inputs: readonly TensorType[]): readonly TensorType[] {
  const [query, key, value, slots, starts] = inputs as readonly [
    TensorType,
    TensorType,
    TensorType,
    TensorType,
    TensorType,
  ];
  const [batch = 0, numHeads = 0, queryLen = 0, headDim] = query.shape;
  const [, numKvHeads = 0, , keyDim] = key.shape;
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
  return [{ shape: [batch, numHeads, queryLen, value.shape[3] ?? 0], dtype: query.dtype }];
}

/** The op as a composition: picks the slots, masks what lies after each query, attends naively. */
function cachedAttentionReference(
  inputs: readonly Tensor[],
  params: CachedAttentionParams,
): readonly Tensor[] {
  const [query, keys, values, slots, starts] = inputs as [Tensor, Tensor, Tensor, Tensor, Tensor];
  const [batch = 0, , queryLen = 0] = query.shape;
  const maxSeqLen = keys.shape[2] ?? 0;
  const device = query.device;
  const tokens = arange(device, queryLen, { dtype: "i32" }).reshape([1, 1, queryLen, 1]);
  const position = starts.reshape([batch, 1, 1, 1]).add(tokens);
  const keyPosition = arange(device, maxSeqLen, { dtype: "i32" }).reshape([1, 1, 1, maxSeqLen]);
  const past = keyPosition.lessEqual(position);
  const sees =
    params.left === undefined ? past : past.logicalAnd(keyPosition.greaterEqual(position.sub(params.left)));
  const compute = device.defaultFloat;
  const key = take(keys, slots, { axis: 0 }).cast(compute);
  const value = take(values, slots, { axis: 0 }).cast(compute);
  return [naiveAttention(query.cast(compute), { key, value, sees }, params).out.cast(query.dtype)];
}
