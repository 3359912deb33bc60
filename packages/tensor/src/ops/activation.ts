import { scope } from "../scope.js";
import type { Tensor } from "../tensor.js";
import { elementwise, whereOp } from "./elementwise.js";

/**
 * Rectified linear unit: max(x, 0); the gradient at 0 is 0, as in PyTorch.
 *
 * Shapes: x [..] -> [..].
 * @returns a new tensor that the caller owns
 * @throws HeddleError "dtype" if x is bool
 */
export function relu(x: Tensor): Tensor {
  return scope(x.device, () => whereOp(elementwise("greater", x, 0), x, 0));
}

/**
 * Sigmoid linear unit: x sigmoid(x).
 *
 * Shapes: x [..] -> [..], a float.
 * @returns a new tensor that the caller owns
 * @throws HeddleError "dtype" if x is not a float
 * @see Elfwing et al. 2017, arXiv:1702.03118
 */
export function silu(x: Tensor): Tensor {
  return scope(x.device, () => x.mul(x.sigmoid()));
}

export interface GeluOptions {
  /** "none": x Phi(x) by the error function (default). "tanh": the approximation that GPT-2 uses. */
  readonly approximate?: "none" | "tanh";
}

/**
 * Gaussian error linear unit: x Phi(x), or x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))).
 *
 * Shapes: x [..] -> [..], a float.
 * @returns a new tensor that the caller owns
 * @throws HeddleError "dtype" if x is not a float
 * @see Hendrycks and Gimpel 2016, arXiv:1606.08415, section 2
 */
export function gelu(x: Tensor, options: GeluOptions = {}): Tensor {
  return scope(x.device, () => {
    const inner =
      options.approximate === "tanh"
        ? x
            .mul(x.square().mul(0.044715).add(1))
            .mul(Math.sqrt(2 / Math.PI))
            .tanh()
        : x.mul(Math.SQRT1_2).erf();
    return x.mul(inner.add(1)).mul(0.5);
  });
}

/**
 * Gated activation: silu(gate) up.
 *
 * Shapes: gate [.., F], up [.., F] -> [.., F]; one float dtype.
 * @returns a new tensor that the caller owns
 * @throws HeddleError "shape" if the shapes do not broadcast, "dtype" if the dtypes differ or are not floats
 * @see Shazeer 2020, arXiv:2002.05202
 */
export function swiGLU(gate: Tensor, up: Tensor): Tensor {
  return scope(gate.device, () => silu(gate).mul(up));
}
