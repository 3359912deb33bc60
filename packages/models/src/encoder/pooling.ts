import { cumsum, div, fillLike, maximum, mul, scope, sqrt, square, type Tensor, where } from "@heddle/tensor";

/** How one vector is made of those of a text's tokens. */
export type Pooling = "mean" | "first" | "last" | "max" | "mean-sqrt" | "weighted-mean";

/**
 * One vector for each text.
 *
 * Shapes: hidden [B, T, E], mask [B, T] (true for tokens; default: all) -> [B, E].
 * @param pooling  "mean" of the tokens, the "first" token (cls), the "last" one, the "max" of each feature, the sum over the root of
 *   the number of tokens ("mean-sqrt"), or the mean in which token n counts n times ("weighted-mean")
 * @returns a new tensor that the caller disposes
 * @see Reimers and Gurevych 2019, Sentence-BERT, arXiv:1908.10084, section 3
 */
export function pool(hidden: Tensor, pooling: Pooling, mask?: Tensor): Tensor {
  const [B = 0, T = 0, E = 0] = hidden.shape;
  return scope(hidden.device, () => {
    switch (pooling) {
      case "mean":
      case "mean-sqrt":
      case "weighted-mean": {
        if (mask === undefined && pooling === "mean") return hidden.mean({ axes: 1 });
        const tokens = mask?.cast(hidden.dtype) ?? fillLike(hidden, 1, { shape: [B, T] });
        // Padding weighs nothing; a text without tokens gives zeros.
        const weights = pooling === "weighted-mean" ? mul(cumsum(tokens, { axis: 1 }), tokens) : tokens;
        const total = maximum(weights.sum({ axes: 1, keepDims: true }), 1);
        const sum = mul(hidden, weights.expandDims(2)).sum({ axes: 1 });
        return div(sum, pooling === "mean-sqrt" ? sqrt(total) : total);
      }
      case "first":
        return hidden.narrow(1, 0, 1).reshape([B, E]);
      case "last": {
        if (mask === undefined) return hidden.narrow(1, T - 1, T).reshape([B, E]);
        // The last token is where the running count of tokens reaches their number first.
        const counts = mask.cast("i32").cumsum({ axis: 1 });
        const at = counts.argmax({ axis: 1 }).reshape([B, 1, 1]).broadcastTo([B, 1, E]);
        return hidden.gather(at, { axis: 1 }).reshape([B, E]);
      }
      case "max": {
        const seen =
          mask === undefined
            ? hidden
            : where(mask.cast("bool").expandDims(2), hidden, Number.NEGATIVE_INFINITY);
        return seen.max({ axes: 1 });
      }
      default:
        return pooling satisfies never;
    }
  });
}

/** Scales each vector to length 1. Shapes: x [B, E] -> [B, E]. */
export function unitLength(x: Tensor): Tensor {
  return scope(x.device, () => div(x, maximum(sqrt(square(x).sum({ axes: -1, keepDims: true })), 1e-12)));
}
