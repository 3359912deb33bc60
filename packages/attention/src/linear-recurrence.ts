import { concat, cumsum, type Device, HeddleError, scope, type Tensor, tensor, zeros } from "@heddle/tensor";

/** What a linear recurrence reads: queries, keys and values of every token. */
export interface RecurrenceInputs {
  /** [B, H, T, D] */
  readonly query: Tensor;
  /** [B, H, T, D] */
  readonly key: Tensor;
  /** [B, H, T, Dv] */
  readonly value: Tensor;
  /** log of what is kept of the state before each token, <= 0: [B, H, T]. Default 0: everything. */
  readonly logDecay?: Tensor | undefined;
  /** How far each token replaces what its key recalls (delta rule): [B, H, T]. Absent: values are added. */
  readonly beta?: Tensor | undefined;
}

/**
 * How a recurrence is computed; all give the same numbers. "parallel": one matrix product over T x T. "chunked": so within chunks,
 * the state between them, T x chunk in all. "recurrent": token by token, constant memory.
 */
export type RecurrenceForm = "parallel" | "chunked" | "recurrent";

/** Which form of a recurrence runs, and from which state. */
export interface RecurrenceOptions {
  /** Default "chunked". */
  readonly form?: RecurrenceForm;
  /** Tokens of a chunk. Default 64. */
  readonly chunk?: number;
  /** State before the first token, [B, H, D, Dv]. Default zeros. Borrowed. */
  readonly state?: Tensor | undefined;
}

/** Outputs of a recurrence, and the state behind its last token. */
export interface RecurrenceResult {
  /** [B, H, T, Dv] */
  readonly out: Tensor;
  /** State after the last token, [B, H, D, Dv]. */
  readonly state: Tensor;
}

/**
 * Runs S_t = a_t S_(t-1) + k_t u_t^T, o_t = S_t^T q_t, with a_t = exp(logDecay_t) and u_t = v_t, or, where there is a beta,
 * u_t = beta_t (v_t - a_t S_(t-1)^T k_t).
 *
 * Shapes: as `RecurrenceInputs`. Differentiable in everything.
 * @returns new tensors that the caller disposes
 * @throws HeddleError "shape" if the extents do not fit, "config" if chunk is not a whole number above 0
 * @see Yang et al. 2024, Gated Delta Networks, arXiv:2412.06464, section 3 (a = alpha); without decay: Yang et al. 2024,
 * arXiv:2406.06484. Twins: the forms of each other
 */
export function linearRecurrence(
  inputs: RecurrenceInputs,
  options: RecurrenceOptions = {},
): RecurrenceResult {
  const { form = "chunked", chunk = 64 } = options;
  checkRecurrence(inputs, { ...options, chunk });
  const [batch = 0, numHeads = 0, length = 0, headDim = 0] = inputs.query.shape;
  const valueDim = inputs.value.shape[3] ?? 0;
  const { device, dtype } = inputs.query;
  return scope(device, () => {
    let state = options.state ?? zeros(device, [batch, numHeads, headDim, valueDim], { dtype });
    const size = form === "parallel" ? length : form === "recurrent" ? 1 : chunk;
    const step = form === "recurrent" ? recurrentStep : chunkStep;
    const outs: Tensor[] = [];
    for (let from = 0; from < length; from += size) {
      const result = step(tokens(inputs, from, Math.min(length, from + size)), state);
      outs.push(result.out);
      state = result.state;
    }
    return { out: concat(outs, { axis: 2 }), state: state.reshape(state.shape) };
  });
}

function tokens(inputs: RecurrenceInputs, from: number, to: number): RecurrenceInputs {
  const part = (x: Tensor) => x.narrow(2, from, to);
  const { query, key, value, logDecay, beta } = inputs;
  return {
    query: part(query),
    key: part(key),
    value: part(value),
    logDecay: logDecay && part(logDecay),
    beta: beta && part(beta),
  };
}

/** One token, as the formula says. */
function recurrentStep(
  { query, key, value, logDecay, beta }: RecurrenceInputs,
  state: Tensor,
): RecurrenceResult {
  const column = (x: Tensor) => x.reshape([...x.shape, 1]); // [B, H, 1, 1]
  const kept = logDecay === undefined ? state : state.mul(column(logDecay).exp());
  const update = beta === undefined ? value : value.sub(key.matmul(kept)).mul(column(beta));
  const next = kept.add(key.matmul(update, { transposeA: true }));
  return { out: query.matmul(next), state: next };
}

/**
 * A chunk at once. With G_i the decay from the chunk's start up to token i: S_i = G_i S_0 + sum over j <= i of
 * (G_i / G_j) k_j u_j^T; with a beta, the u solve (I + A) u = beta (v - G k S_0), A strictly lower.
 */
function chunkStep({ query, key, value, logDecay, beta }: RecurrenceInputs, state: Tensor): RecurrenceResult {
  const { device } = query;
  const length = query.shape[2] ?? 0;
  const sums = logDecay === undefined ? undefined : cumsum(logDecay, { axis: 2 }); // log G_i
  const row = (x: Tensor) => x.reshape([...x.shape, 1]);
  const lower = triangle(device, length, { offset: 0, like: query });
  // Differences of logarithms before exp: no quotient of tiny numbers. Above the diagonal they could overflow: 0 there.
  const between =
    sums === undefined
      ? lower
      : row(sums)
          .sub(sums.reshape([...sums.shape.slice(0, 2), 1, length]))
          .mul(lower)
          .exp()
          .mul(lower);
  const since = (x: Tensor) => (sums === undefined ? x : x.mul(row(sums).exp()));
  const update =
    beta === undefined
      ? value
      : solveDelta({ key, value, beta, between, recalled: since(key.matmul(state)) });
  const scores = query.matmul(key, { transposeB: true }).mul(between);
  const out = since(query.matmul(state)).add(scores.matmul(update));
  const last = sums?.narrow(2, length - 1, length);
  const keyToEnd = last === undefined || sums === undefined ? key : key.mul(row(last.sub(sums).exp()));
  const kept = last === undefined ? state : state.mul(row(last.exp()));
  return { out, state: kept.add(keyToEnd.matmul(update, { transposeA: true })) };
}

/** Solves (I + A) u = beta (v - recalled), A_ij = beta_i (G_i / G_j) (k_i . k_j) for j < i. */
function solveDelta(delta: {
  readonly key: Tensor;
  readonly value: Tensor;
  readonly beta: Tensor;
  readonly between: Tensor;
  readonly recalled: Tensor;
}): Tensor {
  const { key, value, beta, between, recalled } = delta;
  const length = key.shape[2] ?? 0;
  const strict = triangle(key.device, length, { offset: -1, like: key });
  const row = beta.reshape([...beta.shape, 1]);
  const a = key.matmul(key, { transposeB: true }).mul(between).mul(row).mul(strict);
  // (I + A)^-1 = (I - A)(I + A^2)(I + A^4).., which ends because A is strictly lower.
  let solved = value.sub(recalled).mul(row);
  solved = solved.sub(a.matmul(solved));
  let power = a;
  for (let reach = 2; reach < length; reach *= 2) {
    power = power.matmul(power);
    solved = solved.add(power.matmul(solved));
  }
  return solved;
}

/** 1 at and below the diagonal (offset 0) or below it (offset -1), [n, n]. */
function triangle(
  device: Device,
  n: number,
  { offset, like }: { readonly offset: number; readonly like: Tensor },
): Tensor {
  const values = Float32Array.from({ length: n * n }, (_, at) =>
    (at % n) - Math.floor(at / n) <= offset ? 1 : 0,
  );
  return tensor(device, values, { shape: [n, n], dtype: like.dtype });
}

function checkRecurrence(
  inputs: RecurrenceInputs,
  { chunk, state }: RecurrenceOptions & { readonly chunk: number },
): void {
  if (!(Number.isInteger(chunk) && chunk > 0)) {
    throw new HeddleError(
      "config",
      `linearRecurrence: chunk must be a whole number above 0; got chunk ${chunk}. Leave it out for 64.`,
      { chunk },
    );
  }
  const { query, key, value, logDecay, beta } = inputs;
  const [batch, numHeads, length, headDim] = query.shape;
  const valueDim = value.shape[3];
  const wanted: readonly (readonly [string, Tensor | undefined, readonly (number | undefined)[]])[] = [
    ["key", key, [batch, numHeads, length, headDim]],
    ["value", value, [batch, numHeads, length, valueDim]],
    ["logDecay", logDecay, [batch, numHeads, length]],
    ["beta", beta, [batch, numHeads, length]],
    ["state", state, [batch, numHeads, headDim, valueDim]],
  ];
  for (const [name, x, shape] of wanted) {
    if (x === undefined || String(x.shape) === String(shape)) continue;
    throw new HeddleError(
      "shape",
      `linearRecurrence: ${name} must be [${shape.join(", ")}] beside query [${query.shape.join(", ")}]; got ${name} [${x.shape.join(", ")}]. Repeat kv heads to the heads of the query.`,
      { [name]: x.shape, query: query.shape },
    );
  }
}
