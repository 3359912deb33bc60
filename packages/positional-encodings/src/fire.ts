import { scope, type Tensor, tensor } from "@heddle/tensor";
import { alignmentOf } from "./alignment.js";
import { checkShape } from "./check.js";
import { checkPerceptron, type PerceptronLayer, perceptron } from "./perceptron.js";
import type { BiasEncoding } from "./position-encoding.js";

/** What FIRE learns. */
export interface FireWeights {
  /** f: from the normalised distance to one bias a head, 1 -> .. -> H. */
  readonly layers: readonly PerceptronLayer[];
  /** c of psi(x) = log(|c x| + 1), [1]. */
  readonly logScale: Tensor;
  /** L: below this position distances are normalised by it, in tokens, [1]. */
  readonly threshold: Tensor;
}

/**
 * Biases scores by a network of the distance relative to the query's position: f(psi(i - j) / psi(max(i, |L|))).
 *
 * psi(x) = log(|c x| + 1), so that keys after the query count as far as those before. A query at position i has i keys before it:
 * the bias depends on i too, and stays within what training saw at any length.
 * Shapes: -> [1, H, T, S]. Differentiable in all weights. Queries stand at positions of 0 and above.
 * @returns an encoding of kind "bias" that borrows the weights
 * @throws HeddleError "shape" if the weights do not fit
 * @see Li et al. 2024, FIRE, arXiv:2310.04418, section 3. Differs from the paper: 1e-6 is added to the divisor, as a guard
 */
export function fire(weights: FireWeights): BiasEncoding {
  const { layers, logScale, threshold } = weights;
  const H = checkPerceptron("fire", layers);
  checkShape("fire", { logScale, threshold }, [1]);
  return {
    kind: "bias",
    dependsOn: "positions",
    bias: (alignment) => {
      const { queryLen: T, keyLen: S, queryStart } = alignmentOf("fire", alignment);
      const { device, dtype } = logScale;
      const places = Float64Array.from({ length: T }, (_, i) => queryStart + i);
      const distances = Float64Array.from({ length: T * S }, (_, at) =>
        Math.abs(queryStart + Math.floor(at / S) - (at % S)),
      );
      return scope(device, () => {
        const psi = (x: Tensor) => x.mul(logScale).abs().add(1).log();
        const length = tensor(device, places, { shape: [T, 1], dtype }).maximum(threshold.abs());
        const relative = psi(tensor(device, distances, { shape: [T, S], dtype })).div(psi(length).add(1e-6));
        return perceptron(relative.reshape([T * S, 1]), layers)
          .transpose()
          .reshape([1, H, T, S]);
      });
    },
  };
}
