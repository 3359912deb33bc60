import { invariant, scope, tensor } from "@heddle/tensor";
import { alignmentOf, biasByDistance, relativePositions } from "./alignment.js";
import { checkCount } from "./check.js";
import { checkPerceptron, type PerceptronLayer, perceptron } from "./perceptron.js";
import type { BiasEncoding } from "./position-encoding.js";

/**
 * Biases scores by what a small network makes of the distance: b[h, i, j] = network(i - j)[h].
 *
 * Shapes: layers 1 -> .. -> H -> [1, H, T, S]. The network runs once per distance, T + S - 1 times. Differentiable in the layers.
 * @returns an encoding of kind "bias" that borrows the layers
 * @throws HeddleError "shape" if the layers do not lead from 1 feature to H; "config" if there are none
 * @see Wang et al. 2022, CrossFormer, arXiv:2108.00154 (dynamic position bias). Differs from the paper: one distance in a text instead of two in
 * an image; the layer norms are optional
 */
export function dynamicPositionBias(layers: readonly PerceptronLayer[]): BiasEncoding {
  const [first] = layers;
  checkCount("dynamicPositionBias", "layers.length", layers.length);
  invariant(first !== undefined, "a counted list has a first layer");
  checkPerceptron("dynamicPositionBias", layers);
  return {
    kind: "bias",
    bias: (alignment) => {
      const full = alignmentOf("dynamicPositionBias", alignment);
      const { device, dtype } = first.weight;
      return scope(device, () => {
        const distances = Float64Array.from(relativePositions(full), (n) => -n);
        const x = tensor(device, distances, { shape: [distances.length, 1], dtype });
        return biasByDistance(perceptron(x, layers).transpose(), full);
      });
    },
  };
}
