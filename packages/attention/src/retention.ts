import { fillLike, HeddleError, scope, type Tensor, tensor } from "@heddle/tensor";
import {
  linearRecurrence,
  type RecurrenceInputs,
  type RecurrenceOptions,
  type RecurrenceResult,
} from "./linear-recurrence.js";

/**
 * Retention: o_i = sum over j <= i of gamma_h^(i - j) (scale q_i . k_j) v_j. Parallel, chunked and recurrent forms agree.
 *
 * Shapes: query, key [B, H, T, D], value [B, H, T, Dv] -> out [B, H, T, Dv], state [B, H, D, Dv]. Rotate queries and keys before
 * (xPos without its scale). The paper's norm of each head is the caller's. Differentiable.
 * @param options.decays  gamma of each head, 0 < gamma <= 1; default `retentionDecays`
 * @param options.scale  default 1 / sqrt(D)
 * @returns new tensors that the caller disposes
 * @throws HeddleError "config" if there is not one decay in 0..1 a head; those of `linearRecurrence`
 * @see Sun et al. 2023, Retentive Network, arXiv:2307.08621, equations 5 to 7
 */
export function retention(
  { query, key, value }: Pick<RecurrenceInputs, "query" | "key" | "value">,
  options: RecurrenceOptions & { readonly decays?: readonly number[]; readonly scale?: number } = {},
): RecurrenceResult {
  const [batch = 0, numHeads = 0, length = 0, headDim = 1] = query.shape;
  const { decays = retentionDecays(numHeads), scale = 1 / Math.sqrt(headDim), ...rest } = options;
  if (decays.length !== numHeads || decays.some((gamma) => !(gamma > 0 && gamma <= 1))) {
    throw new HeddleError(
      "config",
      `retention: decays must be ${numHeads} numbers above 0 and at most 1, one a head; got ${decays.length}: ${decays.join(", ")}. Use retentionDecays(${numHeads}).`,
      { decays, numHeads },
    );
  }
  return scope(query.device, () => {
    const logs = tensor(query.device, decays.map(Math.log), { shape: [1, numHeads, 1], dtype: query.dtype });
    const logDecay = logs.add(fillLike(query, 0, { shape: [batch, numHeads, length] }));
    return linearRecurrence({ query: query.mul(scale), key, value, logDecay }, rest);
  });
}

/**
 * gamma_h = 1 - 2^(-5 - h), h = 0..H-1.
 *
 * @returns one factor a head, [H]; it throws nothing
 * @see Sun et al. 2023, arXiv:2307.08621, section 2.2
 */
export function retentionDecays(numHeads: number): number[] {
  return Array.from({ length: numHeads }, (_, h) => 1 - 2 ** (-5 - h));
}

/**
 * The gated delta rule: S_t = a_t (I - beta_t k_t k_t^T) S_(t-1) + beta_t k_t v_t^T, o_t = S_t^T q_t: each token overwrites what its
 * key recalls, and everything fades by a_t = exp(logDecay_t).
 *
 * Shapes: query, key [B, H, T, D] (keys of length 1 each), value [B, H, T, Dv], beta and logDecay [B, H, T] -> out [B, H, T, Dv],
 * state [B, H, D, Dv]. Without logDecay it is DeltaNet. Parallel, chunked and recurrent forms agree. Differentiable.
 * @param options.scale  multiplies queries; default 1 / sqrt(D)
 * @returns new tensors that the caller disposes
 * @throws HeddleError as `linearRecurrence`
 * @see Yang et al. 2024, Gated Delta Networks, arXiv:2412.06464, equation 10
 */
export function gatedDeltaRule(
  inputs: RecurrenceInputs & { readonly beta: Tensor },
  options: RecurrenceOptions & { readonly scale?: number } = {},
): RecurrenceResult {
  const { scale = 1 / Math.sqrt(inputs.query.shape[3] ?? 1), ...rest } = options;
  return scope(inputs.query.device, () =>
    linearRecurrence({ ...inputs, query: inputs.query.mul(scale) }, rest),
  );
}
