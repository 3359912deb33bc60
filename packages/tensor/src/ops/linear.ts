import type { Device } from "../device.js";
import type { DType } from "../dtype.js";
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
 * A table of rows that can be looked up and, where the unembedding is tied to it, applied: a matrix or a quantised one.
 *
 * Shapes: take, ids [..] i32 or u32 -> [.., inFeatures] of `dtype`; an id outside 0..outFeatures-1 gives zeros.
 */
export interface EmbeddingTable extends LinearWeight {
  readonly device: Device;
  /** Dtype of the rows that `take` gives. */
  readonly dtype: DType;
  take(ids: Tensor): Tensor;
}

/**
 * A stack of X matrices of which each row of the activations meets one, as in a mixture of experts; a dense one is a tensor
 * [X, out, in].
 */
export interface StackedWeight {
  readonly numMatrices: number;
  readonly inFeatures: number;
  readonly outFeatures: number;
  /** y_r = W[which_r] x_r. Shapes: x [R, in], which [R] i32, each in 0..X-1 -> [R, out]. */
  applyEach(x: Tensor, which: Tensor): Tensor;
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
