import { scope } from "../scope.js";
import type { Tensor } from "../tensor.js";

/**
 * A weight that can be applied to activations: the seam on which dense, quantised, adapted and sharded weights meet.
 *
 * Shapes: x [.., inFeatures] -> [.., outFeatures].
 */
export interface LinearWeight {
  readonly inFeatures: number;
  readonly outFeatures: number;
  apply(x: Tensor): Tensor;
}

/**
 * Applies a weight of any kind, and a bias where given: y = x W^T + b.
 *
 * Shapes: x [.., in], weight in -> out (a dense one is [out, in]), bias [out] -> [.., out].
 * @returns a new tensor that the caller owns
 * @throws HeddleError "shape" if x does not end in the weight's inFeatures
 */
export function linear(x: Tensor, weight: LinearWeight, bias?: Tensor): Tensor {
  return bias === undefined ? weight.apply(x) : scope(x.device, () => weight.apply(x).add(bias));
}
