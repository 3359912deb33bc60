import { add, layerNorm, mul, ones, rmsNorm, scope, type Tensor } from "@heddle/tensor";
import type { NormConfig } from "../config.js";
import type { NormWeights } from "../weights.js";

/**
 * RMS or layer norm over the last axis, as the configuration says.
 *
 * Shapes: x [.., E], weights [E] -> [.., E]; weights of another shape, such as [H, 1, D], broadcast.
 */
export function normalize(norm: NormConfig, { weight, bias }: NormWeights, x: Tensor): Tensor {
  const isVector = (weight?.rank ?? 1) === 1;
  if (!isVector) return scope(x.device, () => affine(normalize(norm, {}, x), { weight, bias }));
  switch (norm.kind) {
    case "rms": {
      const { eps, offset = 0 } = norm;
      if (weight !== undefined) return rmsNorm(x, weight, { eps, offset });
      return scope(x.device, () =>
        rmsNorm(x, ones(x.device, [x.shape.at(-1) ?? 0], { dtype: x.dtype as "f32" }), { eps }),
      );
    }
    case "layer":
      return layerNorm(x, {
        ...(weight === undefined ? {} : { weight }),
        ...(bias === undefined ? {} : { bias }),
        eps: norm.eps,
      });
    default:
      return norm.kind satisfies never;
  }
}

function affine(
  x: Tensor,
  { weight, bias }: { readonly weight: Tensor | undefined; readonly bias: Tensor | undefined },
): Tensor {
  const scaled = weight === undefined ? x : mul(x, weight);
  return bias === undefined ? scaled : add(scaled, bias);
}
