import { div, maximum, mul, scope, sqrt, square, type Tensor, where } from "@heddle/tensor";

/** How one vector is made of those of a text's tokens. */
export type Pooling = "mean" | "first" | "last" | "max";

/**
 * Mean over the tokens of each text; padding does not count.
 *
 * Shapes: hidden [B, T, E], mask [B, T] (true for tokens) -> [B, E].
 */
export function meanPool(hidden: Tensor, mask?: Tensor): Tensor {
  if (mask === undefined) return hidden.mean({ axes: 1 });
  return scope(hidden.device, () => {
    const counts = mask.cast(hidden.dtype).expandDims(2); // [B, T, 1]
    return div(mul(hidden, counts).sum({ axes: 1 }), maximum(counts.sum({ axes: 1 }), 1));
  });
}

/**
 * One vector for each text.
 *
 * Shapes: hidden [B, T, E], mask [B, T] (true for tokens; default: all) -> [B, E].
 * @param pooling  "mean" of the tokens, the "first" place, the "last" token, or the "max" of each feature
 * @returns a new tensor that the caller disposes
 * @see Reimers and Gurevych 2019, Sentence-BERT, arXiv:1908.10084, section 3
 */
export function pool(hidden: Tensor, pooling: Pooling, mask?: Tensor): Tensor {
  const [B = 0, T = 0, E = 0] = hidden.shape;
  return scope(hidden.device, () => {
    switch (pooling) {
      case "mean":
        return meanPool(hidden, mask);
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
