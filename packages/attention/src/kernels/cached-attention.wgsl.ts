import type { TensorType } from "@heddle/tensor";
import {
  type BufferUse,
  bufferAt,
  groupJoin,
  type WgslFeatures,
  type WgslKernel,
  wgslStep,
} from "@heddle/tensor/kernel";
import { placementExtents } from "../cache-placement.js";
import { type CachedAttentionParams, type CachedInput, cachedInputs, reachOf } from "../cached-params.js";
import { cachedMatrixWgsl } from "./cached-matrix.wgsl.js";
import { cachedPrefillWgsl } from "./cached-prefill.wgsl.js";
import { cellFunction, keyRange, scoreText } from "./cached-rules.wgsl.js";
import { type DecodeTuning, decodeWgsl } from "./decode.wgsl.js";
import type { MatrixTile } from "./matrix-attention.wgsl.js";
import { eightBuffers } from "./stored-eight.wgsl.js";

const threads = 128;

/**
 * WGSL kernel of `cachedAttention` over contiguous, sliding, paged, half-precision and quantised caches: `cachedMatrixWgsl`,
 * `cachedPrefillWgsl` and `decodeWgsl` where rows can be read eight features at a time, else a workgroup takes one query of one head through its keys, `threads` at a time.
 *
 * Slots, starts and page tables are read at each run. Twin: the op's reference in cached-attention.ts.
 */
export function cachedAttentionWgsl(
  {
    inputs,
    outputs,
    params,
  }: {
    readonly inputs: readonly TensorType[];
    readonly outputs: readonly TensorType[];
    readonly params: CachedAttentionParams;
  },
  features: WgslFeatures,
  tuning: { readonly tile?: MatrixTile; readonly decode?: DecodeTuning } = {},
): WgslKernel | undefined {
  const named = cachedInputs(inputs, params);
  const { query, key, value, keyTail, table, bias, distanceBias } = named;
  if (query === undefined || key === undefined || params.inputs.length + 1 > features.maxBuffers)
    return undefined;
  const [batch = 0, numHeads = 0, queryLen = 0, headDim = 0] = query.shape;
  const valueDim = outputs[0]?.shape[3] ?? 0;
  const extents = placementExtents(params.placement, key, table);
  const [biasBatch = 1, biasHeads = 1] = bias?.shape ?? [];
  const numKvHeads = key.shape[1] ?? 1;
  const uniforms = {
    numHeads,
    kvHeads: numKvHeads,
    queryLen,
    numSlots: extents.numSlots,
    maxSeqLen: extents.maxSeqLen,
    blockRows: extents.blockRows,
    tail: keyTail?.shape[2] ?? 1,
    biasBatch: biasBatch === 1 ? 0 : biasHeads,
    biasHead: biasHeads === 1 ? 0 : 1,
    distances: distanceBias?.shape[0] === 1 ? 0 : (distanceBias?.shape[1] ?? 0),
    scale: { f32: params.scale },
    softcap: { f32: params.softcap ?? 0 },
  };
  const sizes = { batch, numHeads, numKvHeads, queryLen, headDim, valueDim };
  const reach = reachOf(params, extents.maxSeqLen);
  const dtypes = { query: query.dtype, key: key.dtype, value: (value ?? key).dtype, out: query.dtype };
  const eight = { ...sizes, params, buffers: eightBuffers(params, inputs), uniforms, reach, dtypes };
  const fast =
    cachedMatrixWgsl(eight, features, tuning.tile) ??
    cachedPrefillWgsl(eight, features) ??
    decodeWgsl(eight, features, tuning.decode);
  if (fast !== undefined) return fast;
  if (query.dtype !== "f32" || (headDim + 3 * threads) * 4 + 64 > features.maxWorkgroupBytes)
    return undefined;
  const buffers = params.inputs.map((name, index) => inputBuffer(name, index, named[name]));
  const step = wgslStep({
    buffers: [...buffers, { name: "out", memory: bufferAt(inputs.length), dtype: "f32", access: "write" }],
    params: uniforms,
    threads,
    groups: batch * numHeads * queryLen,
    declarations: `${cellFunction(params)}
${storedFunctions(params, { headDim, valueDim })}
var<workgroup> own: array<f32, ${headDim}>;
var<workgroup> weights: array<f32, ${threads}>;
${groupJoin("max", "h_max(a, b)", threads)}
${groupJoin("sum", "a + b", threads)}`,
    body: cachedBody(params, { headDim, valueDim }),
  });
  return { steps: [step] };
}

function inputBuffer(name: CachedInput, index: number, type: TensorType | undefined): BufferUse {
  return { name, memory: bufferAt(index), dtype: type?.dtype ?? "f32", access: "read" };
}

/** `keyAt` and `valueAt`: stored elements. */
function storedFunctions(
  { format, valueDim: prefix }: CachedAttentionParams,
  { headDim, valueDim }: { readonly headDim: number; readonly valueDim: number },
): string {
  if (format === undefined) {
    const value =
      prefix === undefined ? `load_value(row * ${valueDim}u + c)` : `load_key(row * ${headDim}u + c)`;
    return `fn keyAt(row: u32, position: u32, complete: u32, head: u32, c: u32) -> f32 { return load_key(row * ${headDim}u + c); }
fn valueAt(row: u32, c: u32) -> f32 { return ${value}; }`;
  }
  const { bits, group } = format;
  const code = (name: string, width: number) =>
    bits === 8
      ? `f32(load_${name}(row * ${width}u + c))`
      : `f32((load_${name}(row * ${width / 2}u + c / 2u) >> ((c & 1u) * 4u)) & 15u)`;
  return `fn keyAt(row: u32, position: u32, complete: u32, head: u32, c: u32) -> f32 {
  if (position >= complete) { return load_keyTail((head * P.tail + position % P.tail) * ${headDim}u + c); }
  let at = (head * (P.maxSeqLen / ${group}u) + position / ${group}u) * ${headDim}u + c;
  return load_keyMin(at) + load_keyScale(at) * ${code("key", headDim)};
}
fn valueAt(row: u32, c: u32) -> f32 { return load_valueMin(row) + load_valueScale(row) * ${code("value", valueDim)}; }`;
}

function cachedBody(
  params: CachedAttentionParams,
  { headDim, valueDim }: { readonly headDim: number; readonly valueDim: number },
): string {
  const hasSinks = params.inputs.includes("sinks");
  const perThread = Math.ceil(valueDim / threads);
  return `  let t = group % P.queryLen;
  let h = (group / P.queryLen) % P.numHeads;
  let b = group / (P.queryLen * P.numHeads);
  let head = h / (P.numHeads / P.kvHeads);
${keyRange(params)}
  let queryRow = (b * P.numHeads + h) * P.queryLen + t;
  for (var c = thread; c < ${headDim}u; c += ${threads}u) { own[c] = load_query(queryRow * ${headDim}u + c); }
  workgroupBarrier();
  var most = ${hasSinks ? "load_sinks(h)" : "-1e30"};
  var total = ${hasSinks ? "1.0" : "0.0"};
  var acc: array<f32, ${perThread}>;
  for (var tile = begin; tile < end; tile += ${threads}u) {
    let j = tile + thread;
    var value = -1e30;
    var row = -1;
    if (j < end) {
      row = cell(safeSlot, head, j);
      var product = 0.0;
      if (row >= 0) {
        for (var c = 0u; c < ${headDim}u; c++) {
          product += own[c] * keyAt(u32(row), j, complete, safeSlot * P.kvHeads + head, c);
        }
      }
      value = product * P.scale;
      ${scoreText(params)}
    }
    let greatest = h_max(most, joined_max(thread, value));
    let weight = select(0.0, exp(value - greatest), j < end);
    weights[thread] = weight;
    let kept = exp(most - greatest);
    total = total * kept + joined_sum(thread, weight);
    most = greatest;
    for (var n = 0u; n < ${perThread}u; n++) {
      let c = thread + n * ${threads}u;
      if (c < ${valueDim}u) {
        var sum = acc[n] * kept;
        for (var k = 0u; k < min(${threads}u, end - tile); k++) {
          let stored = cell(safeSlot, head, tile + k);
          if (stored >= 0) { sum += weights[k] * valueAt(u32(stored), c); }
        }
        acc[n] = sum;
      }
    }
    workgroupBarrier();
  }
  for (var n = 0u; n < ${perThread}u; n++) {
    let c = thread + n * ${threads}u;
    if (c < ${valueDim}u) { store_out(queryRow * ${valueDim}u + c, select(acc[n] / total, 0.0, total == 0.0 || !isInside)); }
  }`;
}
