import { linear, type Tensor } from "@heddle/tensor";
import type { LinearWeights } from "../weights.js";

/** x W^T + b. */
export function project({ weight, bias }: LinearWeights, x: Tensor): Tensor {
  return linear(x, weight, bias);
}
