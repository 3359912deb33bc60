import { layerNorm, relu, type Tensor } from "@heddle/tensor";
import { checkShape } from "./check.js";

/** One layer of a small network that turns distances into biases. */
export interface PerceptronLayer {
  /** [out, in] */
  readonly weight: Tensor;
  /** [out] */
  readonly bias: Tensor;
  /** Layer norm of the input, before its ReLU: weight and bias [in]. Default: none. Not for the first layer. */
  readonly norm?: { readonly weight: Tensor; readonly bias: Tensor };
}

/** Checks that layers lead from one number to one number per head, and returns the number of heads. */
export function checkPerceptron(caller: string, layers: readonly PerceptronLayer[]): number {
  let width = 1;
  for (const [at, { weight, bias }] of layers.entries()) {
    checkShape(caller, { [`layers[${at}].weight`]: weight }, ["out", width]);
    width = weight.shape[0] ?? 0;
    checkShape(caller, { [`layers[${at}].bias`]: bias }, [width]);
  }
  return width;
}

/**
 * Applies layers with a ReLU (and a layer norm where given) between them: x [N, 1] -> [N, H].
 *
 * Leaves its temporaries to the caller's scope.
 */
export function perceptron(x: Tensor, layers: readonly PerceptronLayer[]): Tensor {
  return layers.reduce((values, { weight, bias, norm }, at) => {
    const input = at === 0 ? values : relu(norm ? layerNorm(values, norm) : values);
    return input.matmul(weight, { transposeB: true }).add(bias);
  }, x);
}
