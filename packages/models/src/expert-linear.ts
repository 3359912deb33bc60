import { add, matmul, type Tensor, take } from "@heddle/tensor";
import type { ExpertLinearWeights } from "./weights.js";

/**
 * Applies to each row the matrix, and bias, of its own expert: y_r = W[expert_r] x_r + b[expert_r].
 *
 * Shapes: x [R, in], weight [X, out, in], bias [X, out], expert [R] i32 -> [R, out].
 */
export function expertLinear(x_RI: Tensor, { weight, bias }: ExpertLinearWeights, expert_R: Tensor): Tensor {
  const picked_ROI = take(weight, expert_R);
  const y_RO = matmul(picked_ROI, x_RI.expandDims(2)).squeeze([2]);
  return bias === undefined ? y_RO : add(y_RO, take(bias, expert_R));
}
