import {
  concat,
  type Device,
  exp,
  HeddleError,
  ones,
  randn,
  reference,
  scope,
  type Tensor,
  tensor,
  where,
} from "@heddle/tensor";
import { type AttentionOptions, attention } from "./attention.js";
import {
  linearRecurrence,
  type RecurrenceInputs,
  type RecurrenceOptions,
  type RecurrenceResult,
} from "./linear-recurrence.js";

/** Makes features of queries or keys: [B, H, T, D] -> [B, H, T, F], not negative. */
export type FeatureMap = (x: Tensor) => Tensor;

/** Options of `linearAttention`. */
export interface LinearAttentionOptions extends RecurrenceOptions {
  /** Default elu(x) + 1. */
  readonly featureMap?: FeatureMap;
  /** Otherwise every query sees every key (forms and state do not apply). Default true. */
  readonly isCausal?: boolean;
}

/**
 * Linear attention: o_i = f(q_i) sum f(k_j) v_j^T / f(q_i) . sum f(k_j), over j <= i where causal. Work and memory linear in T.
 *
 * Shapes: query, key [B, H, T, D], value [B, H, T, Dv] -> out [B, H, T, Dv], state [B, H, F, Dv + 1] (the last column sums the
 * features of the keys). Differentiable.
 * @returns new tensors that the caller disposes
 * @throws HeddleError as `linearRecurrence`
 * @see Katharopoulos et al. 2020, Transformers are RNNs, arXiv:2006.16236, equations 8 to 12 (phi = featureMap)
 */
export function linearAttention(
  { query, key, value }: Pick<RecurrenceInputs, "query" | "key" | "value">,
  options: LinearAttentionOptions = {},
): RecurrenceResult {
  const { featureMap = eluFeatures, isCausal = true, ...rest } = options;
  return scope(query.device, () => {
    const [batch = 0, numHeads = 0, length = 0, valueDim = 0] = value.shape;
    const one = ones(value.device, [batch, numHeads, length, 1], { dtype: value.dtype });
    const counted = concat([value, one], { axis: 3 });
    const [q, k] = [featureMap(query), featureMap(key)];
    const result = isCausal
      ? linearRecurrence({ query: q, key: k, value: counted }, rest)
      : allKeys(q, k, counted);
    const sums = result.out.narrow(3, valueDim, valueDim + 1);
    return { out: result.out.narrow(3, 0, valueDim).div(sums), state: result.state };
  });
}

function allKeys(query: Tensor, key: Tensor, value: Tensor): RecurrenceResult {
  const state = key.matmul(value, { transposeA: true });
  return { out: query.matmul(state), state };
}

/** elu(x) + 1: x + 1 above 0, e^x below. */
function eluFeatures(x: Tensor): Tensor {
  return where(x.greater(0), x.add(1), exp(x.minimum(0)));
}

/**
 * Performer's positive random features: f(x) = exp(w x - |x|^2 / 2) / sqrt(F) with orthogonal w, for which f(q) . f(k) is exp(q . k)
 * in the mean. Queries and keys are divided by D^(1/4) first, so that this is the weight of softmax attention.
 *
 * @param options.numFeatures  F; the error falls with its root. Default 4 headDim
 * @returns a feature map for `linearAttention`, which owns its projection [F, D]: dispose `projection` when done
 * @throws HeddleError "config" if a count is not a whole number above 0
 * @see Choromanski et al. 2020, Performer, arXiv:2009.14794, section 2.3 (FAVOR+) and 2.4 (orthogonal features)
 */
export function performerFeatures(
  device: Device,
  options: { readonly headDim: number; readonly numFeatures?: number; readonly seed?: number },
): FeatureMap & { readonly projection: Tensor } {
  const { headDim, numFeatures = 4 * headDim, seed = 0 } = options;
  for (const [name, value] of Object.entries({ headDim, numFeatures })) {
    if (Number.isInteger(value) && value > 0) continue;
    throw new HeddleError(
      "config",
      `performerFeatures: ${name} must be a whole number above 0; got ${name} ${value}. Take 4 times the head size as features.`,
      { [name]: value },
    );
  }
  const projection = orthogonalRows(device, { rows: numFeatures, columns: headDim, seed });
  const map = (x: Tensor) =>
    scope(x.device, () => {
      const scaled = x.mul(headDim ** -0.25);
      const half = scaled.square().sum({ axes: 3, keepDims: true }).mul(0.5);
      return scaled
        .matmul(projection, { transposeB: true })
        .sub(half)
        .exp()
        .mul(1 / Math.sqrt(numFeatures));
    });
  return Object.assign(map, { projection });
}

/** Gaussian rows, orthogonal to each other within each block of `columns` of them, of the lengths of Gaussian vectors. */
function orthogonalRows(
  device: Device,
  { rows, columns, seed }: { readonly rows: number; readonly columns: number; readonly seed: number },
): Tensor {
  const host = reference();
  const draw = (key: number) => Float64Array.from(randn(host, [rows, columns], { seed: key }).dataSync());
  const directions = draw(2 * seed);
  const lengths = draw(2 * seed + 1);
  host.dispose();
  const row = (all: Float64Array, at: number) => all.subarray(at * columns, (at + 1) * columns);
  const dot = (a: Float64Array, b: Float64Array) => a.reduce((sum, x, i) => sum + x * (b[i] ?? 0), 0);
  for (let at = 0; at < rows; at++) {
    const own = row(directions, at);
    for (let before = at - (at % columns); before < at; before++) {
      const other = row(directions, before); // of length 1 already
      const along = dot(own, other);
      for (let i = 0; i < columns; i++) own[i] = (own[i] ?? 0) - along * (other[i] ?? 0);
    }
    const norm = Math.sqrt(dot(own, own));
    for (let i = 0; i < columns; i++) own[i] = (own[i] ?? 0) / norm;
  }
  for (let at = 0; at < rows; at++) {
    const length = Math.sqrt(dot(row(lengths, at), row(lengths, at)));
    const own = row(directions, at);
    for (let i = 0; i < columns; i++) own[i] = (own[i] ?? 0) * length;
  }
  return tensor(device, directions, { shape: [rows, columns], dtype: device.defaultFloat });
}

/**
 * Linformer: keys and values are projected along the sequence to K rows, then attended to exactly. Work linear in T and S.
 *
 * Shapes: query [B, H, T, D], key [B, G, S, D], value [B, G, S, Dv], projections [K, S] (shared by heads) or [G, K, S]
 * -> [B, H, T, Dv]. Not causal: a projected row mixes all positions. Differentiable.
 * @returns a new tensor that the caller disposes
 * @throws HeddleError "shape" if a projection does not fit
 * @see Wang et al. 2020, Linformer, arXiv:2006.04768, equation 7 (E = keyProjection, F = valueProjection)
 */
export function linformerAttention(
  { query, key, value }: { readonly query: Tensor; readonly key: Tensor; readonly value: Tensor },
  {
    keyProjection,
    valueProjection,
    ...options
  }: Omit<AttentionOptions, "mask" | "bias" | "distanceBias"> & {
    readonly keyProjection: Tensor;
    readonly valueProjection: Tensor;
  },
): Tensor {
  const [, numKvHeads = 0, keyLen = 0] = key.shape;
  for (const [name, { shape }] of Object.entries({ keyProjection, valueProjection })) {
    const heads = shape.length === 2 ? 1 : (shape[0] ?? 0);
    if ((heads === 1 || heads === numKvHeads) && shape.length >= 2 && shape.at(-1) === keyLen) continue;
    throw new HeddleError(
      "shape",
      `linformerAttention: ${name} must be [K, ${keyLen}] or [${numKvHeads}, K, ${keyLen}]; got ${name} [${shape.join(", ")}]. Cut it to the length of the sequence.`,
      { [name]: shape, keyLen },
    );
  }
  return scope(query.device, () =>
    attention(query, keyProjection.matmul(key), valueProjection.matmul(value), options),
  );
}
