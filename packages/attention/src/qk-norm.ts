import { fillLike, HeddleError, rmsNorm, scope, type Tensor } from "@heddle/tensor";

/** How queries and keys are normalised over the features of a head. */
export interface QkNormOptions {
  /** "rms": x / rms(x), as Qwen3 and OLMo; "l2": x / |x|, cosine similarities (give attention a scale, such as 10). Default "rms". */
  readonly kind?: "rms" | "l2";
  /** Factor of each feature, [D]; default ones. Differentiable. */
  readonly queryWeight?: Tensor;
  readonly keyWeight?: Tensor;
  /** Added to the mean (or, for "l2", the sum) of squares. Default 1e-6. */
  readonly eps?: number;
}

/**
 * Normalises queries and keys over the features of each head, so that scores stay bounded.
 *
 * Shapes: query [B, H, T, D], key [B, G, S, D], weights [D] -> the same. Differentiable.
 * @returns new tensors that the caller disposes
 * @throws HeddleError "config" if eps is negative
 * @see Henry et al. 2020, Query-Key Normalization, arXiv:2010.04245 (l2); Dehghani et al. 2023, ViT-22B, arXiv:2302.05442,
 * section 2 (a norm with weights)
 */
export function qkNorm(
  { query, key }: { readonly query: Tensor; readonly key: Tensor },
  { kind = "rms", queryWeight, keyWeight, eps = 1e-6 }: QkNormOptions = {},
): { readonly query: Tensor; readonly key: Tensor } {
  if (!(eps >= 0)) {
    throw new HeddleError(
      "config",
      `qkNorm: eps must not be negative; got eps ${eps}. Leave it out for 1e-6.`,
      {
        eps,
      },
    );
  }
  const normalise = (x: Tensor, weight: Tensor | undefined) => {
    if (kind === "rms") {
      const ones = fillLike(x, 1, { shape: [x.shape[x.rank - 1] ?? 1] });
      return rmsNorm(x, weight ?? ones, { eps });
    }
    const unit = x.div(
      x
        .square()
        .sum({ axes: x.rank - 1, keepDims: true })
        .add(eps)
        .sqrt(),
    );
    return weight === undefined ? unit : unit.mul(weight);
  };
  return scope(query.device, () => ({
    query: normalise(query, queryWeight),
    key: normalise(key, keyWeight),
  }));
}
