import { HeddleError, scope, type Tensor } from "@heddle/tensor";
import { type AttentionOptions, attention } from "./attention.js";

/** Two sets of queries and keys over the same values. */
export interface DifferentialInputs {
  /** [B, H, T, D] each. */
  readonly queries: readonly [Tensor, Tensor];
  /** [B, G, S, D] each. */
  readonly keys: readonly [Tensor, Tensor];
  /** [B, G, S, Dv] */
  readonly value: Tensor;
}

/**
 * Differential attention: (softmax(q1 k1) - lambda softmax(q2 k2)) v, so that what both attend to alike cancels.
 *
 * Shapes: queries [B, H, T, D], keys [B, G, S, D], value [B, G, S, Dv], lambda [1] or [H] -> [B, H, T, Dv]. Differentiable in all.
 * Memory linear in length, as `attention`. The paper's norm of each head and its factor (1 - lambdaInit) are the caller's.
 * @returns a new tensor that the caller disposes
 * @throws HeddleError "shape" if lambda has another size; those of `attention`
 * @see Ye et al. 2024, Differential Transformer, arXiv:2410.05258, equation 1
 */
export function differentialAttention(
  { queries, keys, value }: DifferentialInputs,
  { lambda, ...options }: AttentionOptions & { readonly lambda: Tensor },
): Tensor {
  const numHeads = queries[0].shape[1] ?? 0;
  if (lambda.size !== 1 && lambda.size !== numHeads) {
    throw new HeddleError(
      "shape",
      `differentialAttention: lambda must have 1 or ${numHeads} elements, one a head; got lambda [${lambda.shape.join(", ")}]. Make it with differentialLambda.`,
      { lambda: lambda.shape, numHeads },
    );
  }
  return scope(value.device, () => {
    const signal = attention(queries[0], keys[0], value, options);
    const noise = attention(queries[1], keys[1], value, options);
    return signal.sub(noise.mul(lambda.reshape([1, lambda.size, 1, 1])));
  });
}

/**
 * lambda = exp(q1 . k1) - exp(q2 . k2) + lambdaInit.
 *
 * Shapes: vectors [D] each -> [1]. Differentiable.
 * @param options.layer  number of the layer, 0 for the first: lambdaInit = 0.8 - 0.6 exp(-0.3 layer)
 * @returns a new tensor that the caller disposes
 * @throws HeddleError "shape", of the products inside, if q and k differ in size
 * @see Ye et al. 2024, arXiv:2410.05258, equations 2 and 3
 */
export function differentialLambda(
  vectors: { readonly q1: Tensor; readonly k1: Tensor; readonly q2: Tensor; readonly k2: Tensor },
  { layer }: { readonly layer: number },
): Tensor {
  const { q1, k1, q2, k2 } = vectors;
  return scope(q1.device, () => {
    const product = (q: Tensor, k: Tensor) => q.mul(k).sum().exp();
    return product(q1, k1).sub(product(q2, k2)).add(differentialLambdaInit(layer)).reshape([1]);
  });
}

/**
 * lambdaInit of a layer: 0.8 - 0.6 exp(-0.3 layer), from 0.2 at the first towards 0.8.
 *
 * @param layer  number of the layer, 0 for the first
 * @returns a number, no tensor; it throws nothing
 * @see Ye et al. 2024, arXiv:2410.05258, section 2.1 (layers counted from 1 there)
 */
export function differentialLambdaInit(layer: number): number {
  return 0.8 - 0.6 * Math.exp(-0.3 * layer);
}
