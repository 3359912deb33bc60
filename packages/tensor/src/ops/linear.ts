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
 * y = x W^T + b for any kind of weight.
 *
 * Shapes: x [.., in], weight in -> out (a dense one is [out, in]), bias [out] -> [.., out].
 * @returns a new tensor that the caller owns
 */
export function linear(x: Tensor, weight: LinearWeight, bias?: Tensor): Tensor {
  return bias === undefined ? weight.apply(x) : scope(x.device, () => weight.apply(x).add(bias));
}
