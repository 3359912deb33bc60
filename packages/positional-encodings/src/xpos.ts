import { arange, concat, scope, stack, type Tensor, tensor } from "@heddle/tensor";
import { checkPositive } from "./check.js";
import type { RotateEncoding } from "./position-encoding.js";
import { rotary } from "./rotary.js";
import type { RotaryLayout } from "./rotary-params.js";

/** How fast xPos turns and damps. */
export interface XposOptions {
  /** Base wavelength of the rotation, unitless. Default 10 000. */
  readonly theta?: number;
  /** Distance over which a pair's products fall by its factor zeta, in tokens. Default 512. */
  readonly scaleBase?: number;
  /** gamma: evens out the factors, unitless. Default 0.4. */
  readonly gamma?: number;
  /** Default "interleaved" (the paper's). */
  readonly layout?: RotaryLayout;
}

/**
 * Rotates and damps with distance: query times zeta_i^(n / scaleBase), key times zeta_i^(-n / scaleBase), both rotated by n.
 *
 * zeta_i = (2i / D + gamma) / (1 + gamma) for pair i: a product then carries zeta_i^((n - m) / scaleBase), for keys m <= n.
 * Shapes: x [B, H, T, D] -> the same; positions [T] or [B, T] int32, in tokens, default 0..T-1. D even.
 * @returns an encoding of kind "rotate", which holds no tensors
 * @throws HeddleError "config" if an option is not positive; the errors of `rotary`
 * @see Sun et al. 2022, A Length-Extrapolatable Transformer, arXiv:2212.10554, section 3 and algorithm 1. Differs from the released
 * code: positions count from 0 instead of from the middle, which cancels in products; keep them below about 20 000 in f32
 */
export function xpos(options: XposOptions = {}): RotateEncoding {
  const { theta = 10_000, scaleBase = 512, gamma = 0.4, layout = "interleaved" } = options;
  for (const [name, value] of Object.entries({ theta, scaleBase, gamma })) checkPositive("xpos", name, value);
  const turn = (x: Tensor, positions: Tensor | undefined, sign: 1 | -1) =>
    scope(x.device, () => {
      const rotated = rotary(x, { theta, layout, ...(positions && { positions }) });
      const [, , seqLen = 0, headDim = 0] = x.shape;
      const rates = Float64Array.from(
        { length: headDim / 2 },
        (_, i) => (sign * Math.log(((2 * i) / headDim + gamma) / (1 + gamma))) / scaleBase,
      );
      const at = (positions ?? arange(x.device, seqLen, { dtype: "i32" })).reshape([-1, 1, seqLen, 1]);
      const factors = at.cast(x.device.defaultFloat).mul(tensor(x.device, rates)).exp(); // [B or 1, 1, T, D/2]
      return rotated.mul(perFeature(factors, layout).cast(x.dtype));
    });
  return {
    kind: "rotate",
    numAxes: 1,
    rotateQuery: (x, positions) => turn(x, positions, 1),
    rotateKey: (x, positions) => turn(x, positions, -1),
  };
}

/** Gives both features of a pair its factor: [.., T, D/2] -> [.., T, D]. */
function perFeature(factors: Tensor, layout: RotaryLayout): Tensor {
  if (layout === "half") return concat([factors, factors], { axis: 3 });
  const [batch = 1, one = 1, seqLen = 1] = factors.shape;
  return stack([factors, factors], { axis: 4 }).reshape([batch, one, seqLen, -1]);
}
