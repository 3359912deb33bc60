import { concat, fillLike, invariant, scope, type Tensor } from "@heddle/tensor";

export interface CausalConvResult {
  /** [B, T, I] */
  readonly out: Tensor;
  /** The last K - 1 inputs, [B, K - 1, I]: what the next piece of the text needs. */
  readonly state: Tensor;
}

/**
 * Convolves every channel with its own short filter over the tokens up to each one: y_t = bias + sum_k w_k x_(t - K + 1 + k).
 *
 * Shapes: x [B, T, I], weight [I, K], bias [I], state [B, K - 1, I] -> out [B, T, I], state [B, K - 1, I]. Differentiable.
 * @param options.state  the inputs before x, as an earlier call returned them. Default: zeros
 * @returns two tensors that the caller disposes
 * @see Gu and Dao 2023, Mamba, arXiv:2312.00752, section 3.4
 */
export function causalConv(
  x: Tensor,
  weight: Tensor,
  { bias, state }: { readonly bias?: Tensor | undefined; readonly state?: Tensor | undefined } = {},
): CausalConvResult {
  const [B = 0, T = 0, I = 0] = x.shape;
  const K = weight.shape[1] ?? 1;
  return scope(x.device, () => {
    const past = state ?? fillLike(x, 0, { shape: [B, K - 1, I] });
    const all = K === 1 ? x : concat([past, x], { axis: 1 });
    const taps = weight.transpose([1, 0]);
    const terms = Array.from({ length: K }, (_, k) =>
      all.narrow(1, k, k + T).mul(taps.narrow(0, k, k + 1).reshape([I])),
    );
    const sum = terms.reduce((total, term) => total.add(term));
    invariant(sum, "a filter has at least one tap");
    return { out: bias === undefined ? sum : sum.add(bias), state: all.narrow(1, T, T + K - 1) };
  });
}
