import {
  defineOp,
  fillLike,
  HeddleError,
  isFloat,
  isHalf,
  type Op,
  pad,
  type Tensor,
  type TensorType,
  where,
} from "@heddle/tensor";
import { sumByDistance, wholeBias } from "./distance-bias.js";
import {
  type FlashBackwardParams,
  type FlashParams,
  type FlashShape,
  flashInputs,
  flashShape,
  tileSizeFor,
} from "./flash-params.js";
import { flashBackwardWasm } from "./kernels/flash-backward.wasm.js";
import { flashBackwardWgsl } from "./kernels/flash-backward.wgsl.js";
import { flashForwardWasm } from "./kernels/flash-forward.wasm.js";
import { flashForwardWgsl } from "./kernels/flash-forward.wgsl.js";
import { checkExtents } from "./mask-rule.js";
import { seenKeys } from "./mask-sees.js";
import { groupedMatmul, naiveAttention, naiveScores } from "./naive.js";

/**
 * Exact attention in memory linear in length, as an op: inputs query, key, value, then the tensors of the mask, bias
 * [B or 1, H or 1, T, S], distance bias [H or 1, T + S - 1] and sinks [H] where the params say so; outputs out [B, H, T, Dv], lse [B, H, T] and, where wanted, the
 * number of tiles that each tile of queries visited.
 *
 * @see Dao 2023, FlashAttention-2, arXiv:2307.08691
 */
export const flashAttention: Op<FlashParams> = defineOp({
  name: "flashAttention",
  infer(inputs, params) {
    const shape = checkFlashInputs(inputs, params);
    const { batch, numHeads, queryLen, valueDim } = shape;
    const dtype = inputs[0]?.dtype ?? "f32";
    const results: TensorType[] = [
      { shape: [batch, numHeads, queryLen, valueDim], dtype },
      { shape: [batch, numHeads, queryLen], dtype: isHalf(dtype) ? "f32" : dtype },
    ];
    return params.countsTiles ? [...results, { shape: tileCounts(shape, params), dtype: "i32" }] : results;
  },
  reference(inputs, params) {
    const [query, key, value] = inputs as [Tensor, Tensor, Tensor];
    if (isHalf(query.dtype)) {
      const [out, lse, ...counts] = flashAttention.apply(widened(inputs), params) as [Tensor, Tensor];
      return [out.cast(query.dtype), lse.cast("f32"), ...counts];
    }
    const { mask, sinks, ...biases } = optionalInputs(inputs, params);
    const shape = flashShape(inputs);
    const bias = wholeBias(biases, shape);
    const sees = params.mask && seenKeys(query.device, params.mask, { inputs: mask, extents: shape });
    const { out, lse } = naiveAttention(query, { key, value, sees, sinks }, { ...params, bias });
    return params.countsTiles ? [out, lse, countTiles(query, sees, { shape, params })] : [out, lse];
  },
  vjp({ inputs, outputs, grads: [dOut, dLse], params, needed }) {
    const [out, lse] = outputs as [Tensor, Tensor];
    const [query, key, value] = inputs as [Tensor, Tensor, Tensor];
    const { mask, bias, distanceBias, sinks } = optionalInputs(inputs, params);
    const outGradient = dOut ?? fillLike(out, 0);
    const products = outGradient.cast(lse.dtype).mul(out.cast(lse.dtype)).sum({ axes: 3 });
    const delta = dLse === undefined ? products : products.sub(dLse);
    const at = flashInputs(params);
    const wantsBias = bias !== undefined && needed[at.bias ?? -1] === true;
    const wantsDistanceBias = distanceBias !== undefined && needed[at.distanceBias ?? -1] === true;
    const optional = [...mask, bias, distanceBias].filter((tensor) => tensor !== undefined);
    const [dQuery, dKey, dValue, ...dBiases] = flashAttentionBackward.apply(
      [query, key, value, ...optional, lse, delta, outGradient],
      { ...params, hasSinks: false, countsTiles: false, wantsBias, wantsDistanceBias },
    );
    const dBias = wantsBias ? dBiases[0] : undefined;
    const dDistance = wantsDistanceBias ? dBiases.at(-1)?.sum({ axes: 0 }) : undefined;
    const result: (Tensor | undefined)[] = [dQuery, dKey, dValue, ...mask.map(() => undefined)];
    if (bias !== undefined) result.push(dBias && sumToShape(dBias, bias.shape).cast(bias.dtype));
    if (distanceBias !== undefined)
      result.push(dDistance && sumToShape(dDistance, distanceBias.shape).cast(distanceBias.dtype));
    if (sinks !== undefined) result.push(sinkGradient(sinks, lse, delta));
    return result;
  },
  kernels: { wasm: flashForwardWasm, wgsl: flashForwardWgsl },
});

/**
 * The gradient of `flashAttention`: inputs query, key, value, mask.., bias?, distance bias?, lse, delta = sum(dOut out) - dLse
 * [B, H, T], dOut; outputs the gradients of query, key, value and, where wanted, of the bias as [B, H, T, S] and of the distance
 * bias as [B, H, T + S - 1].
 */
export const flashAttentionBackward: Op<FlashBackwardParams> = defineOp({
  name: "flashAttentionBackward",
  infer(inputs, params) {
    const { batch, numHeads, queryLen, keyLen } = flashShape(inputs);
    const gradients: TensorType[] = inputs.slice(0, 3).map(({ shape, dtype }) => ({ shape, dtype }));
    const dtype = inputs[0]?.dtype ?? "f32";
    const wide = isHalf(dtype) ? "f32" : dtype;
    if (params.wantsBias) gradients.push({ shape: [batch, numHeads, queryLen, keyLen], dtype: wide });
    if (params.wantsDistanceBias === true) {
      gradients.push({ shape: [batch, numHeads, queryLen + keyLen - 1], dtype: wide });
    }
    return gradients;
  },
  reference(inputs, params) {
    const [query, key, value] = inputs as [Tensor, Tensor, Tensor];
    if (isHalf(query.dtype)) {
      return flashAttentionBackward
        .apply(widened(inputs), params)
        .map((gradient, i) => gradient.cast(i < 3 ? query.dtype : "f32"));
    }
    const [lse, delta, dOut] = inputs.slice(-3) as [Tensor, Tensor, Tensor];
    const { mask, ...biases } = optionalInputs(inputs, params);
    const { scale, softcap } = params;
    const shape = flashShape(inputs);
    const bias = wholeBias(biases, shape);
    const { batch, numHeads, numKvHeads, queryLen } = shape;
    const perRow = [batch, numHeads, queryLen, 1];
    const rowLse = where(lse.equal(Number.NEGATIVE_INFINITY), 0, lse).reshape(perRow);
    const raw = naiveScores(query, key, { scale });
    const tangent = softcap === undefined ? undefined : raw.div(softcap).tanh();
    const capped = tangent === undefined || softcap === undefined ? raw : tangent.mul(softcap);
    const scores = bias === undefined ? capped : capped.add(bias);
    const sees = params.mask && seenKeys(query.device, params.mask, { inputs: mask, extents: shape });
    const weights = (sees === undefined ? scores : where(sees, scores, -1e30)).sub(rowLse).exp();
    const dWeights = groupedMatmul(dOut, value, { transposeB: true });
    const dBiased = weights.mul(dWeights.sub(delta.reshape(perRow)));
    const dScores = tangent === undefined ? dBiased : dBiased.mul(tangent.square().neg().add(1));
    const toKeys = (matrix: Tensor, rows: Tensor) => {
      const perHead = matrix.matmul(rows, { transposeA: true });
      const [, , keyLen = 0, width = 0] = perHead.shape;
      return perHead.reshape([batch, numKvHeads, numHeads / numKvHeads, keyLen, width]).sum({ axes: 2 });
    };
    const gradients = [
      groupedMatmul(dScores, key).mul(scale),
      toKeys(dScores, query).mul(scale),
      toKeys(weights, dOut),
    ];
    if (params.wantsBias) gradients.push(dBiased);
    if (params.wantsDistanceBias === true) gradients.push(sumByDistance(dBiased));
    return gradients;
  },
  kernels: { wasm: flashBackwardWasm, wgsl: flashBackwardWgsl },
});

/** All floats as what the device computes in. */
function widened(inputs: readonly Tensor[]): Tensor[] {
  return inputs.map((x) => (isFloat(x.dtype) ? x.cast(x.device.defaultFloat) : x));
}

function optionalInputs(inputs: readonly Tensor[], params: FlashParams) {
  const at = flashInputs(params);
  const pick = (index: number | undefined) => (index === undefined ? undefined : inputs[index]);
  const mask = at.mask.map((index) => inputs[index] as Tensor);
  return { mask, bias: pick(at.bias), distanceBias: pick(at.distanceBias), sinks: pick(at.sinks) };
}

/** Shape of the counts of visited tiles: [B, H, tiles of queries]. */
function tileCounts({ batch, numHeads, queryLen }: FlashShape, { mask }: FlashParams): readonly number[] {
  return [batch, numHeads, Math.ceil(queryLen / tileSizeFor(queryLen, mask).queries)];
}

/** Counts the tiles that hold at least one seen key: the twin of what kernels count as they go. */
function countTiles(
  query: Tensor,
  sees: Tensor | undefined,
  { shape, params }: { readonly shape: FlashShape; readonly params: FlashParams },
): Tensor {
  const { batch, numHeads, queryLen, keyLen } = shape;
  const tile = tileSizeFor(queryLen, params.mask);
  const all = fillLike(query, 1, { shape: [batch, numHeads, queryLen, keyLen] });
  const flags = sees === undefined ? all : where(sees, all, 0);
  const rows = Math.ceil(queryLen / tile.queries);
  const columns = Math.ceil(keyLen / tile.keys);
  const padded = pad(flags, [
    [0, 0],
    [0, 0],
    [0, rows * tile.queries - queryLen],
    [0, columns * tile.keys - keyLen],
  ]);
  return padded
    .reshape([batch, numHeads, rows, tile.queries, columns, tile.keys])
    .max({ axes: [3, 5] })
    .sum({ axes: 3 })
    .cast("i32");
}

/** d loss / d sink = -sum of p_sink delta: the sink takes weight and gives no value. */
function sinkGradient(sinks: Tensor, lse: Tensor, delta: Tensor): Tensor {
  const weights = sinks.reshape([1, sinks.size, 1]).sub(lse).exp();
  return weights
    .mul(delta)
    .sum({ axes: [0, 2] })
    .neg();
}

/** Sums over the axes on which `shape` repeats. */
function sumToShape(gradient: Tensor, shape: readonly number[]): Tensor {
  const axes = shape.flatMap((extent, axis) => (extent === 1 && gradient.shape[axis] !== 1 ? [axis] : []));
  return axes.length === 0 ? gradient : gradient.sum({ axes, keepDims: true });
}

const formatShapes = (types: Readonly<Record<string, TensorType>>) =>
  Object.entries(types)
    .map(([name, { shape }]) => `${name} [${shape.join(", ")}]`)
    .join(", ");

/** Checks the types of an attention call and returns its extents. */
export function checkFlashInputs(
  inputs: readonly TensorType[],
  params: FlashParams,
): ReturnType<typeof flashShape> {
  const [query, key, value] = inputs as [TensorType, TensorType, TensorType];
  const shown = formatShapes({ query, key, value });
  const fail = (rule: string, cure: string): never => {
    throw new HeddleError("shape", `attention: ${rule}; got ${shown}. ${cure}`, {
      query: query.shape,
      key: key.shape,
      value: value.shape,
    });
  };
  if ([query, key, value].some(({ shape }) => shape.length !== 4)) {
    fail("query, key and value must be [batch, heads, seq, headDim]", "Reshape each to four axes.");
  }
  const shape = flashShape(inputs);
  const { batch, numHeads, numKvHeads, keyLen, headDim } = shape;
  if (key.shape[0] !== batch || value.shape[0] !== batch) {
    fail("query, key and value must have one batch size", "Repeat or slice the batch axis.");
  }
  if (key.shape[3] !== headDim) fail("query and key must have one headDim", "Project both to the same size.");
  if (value.shape[1] !== numKvHeads || value.shape[2] !== keyLen) {
    fail("key and value must have the same heads and length", "Pass the value of every key.");
  }
  if (numHeads === 0 || numKvHeads === 0 || numHeads % numKvHeads !== 0) {
    const divisors = Array.from({ length: numHeads }, (_, i) => i + 1).filter((n) => numHeads % n === 0);
    fail("query heads must be a multiple of kv heads", `Set numKvHeads to ${divisors.join(", ")}.`);
  }
  checkOptionalInputs(inputs, params, shape);
  return shape;
}

function checkOptionalInputs(
  inputs: readonly TensorType[],
  params: FlashParams,
  { batch, numHeads, queryLen, keyLen }: ReturnType<typeof flashShape>,
): void {
  const at = flashInputs(params);
  const check = (name: string, index: number | undefined, allowed: readonly (readonly number[])[]) => {
    const type = index === undefined ? undefined : inputs[index];
    if (type !== undefined) checkExtents(name, type, allowed);
  };
  check("bias", at.bias, [[batch, 1], [numHeads, 1], [queryLen], [keyLen]]);
  check("distanceBias", at.distanceBias, [[numHeads, 1], [queryLen + keyLen - 1]]);
  check("sinks", at.sinks, [[numHeads]]);
}
