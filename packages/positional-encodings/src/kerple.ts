import { scope, type Tensor, tensor } from "@heddle/tensor";
import { alignmentOf, biasByDistance, relativePositions } from "./alignment.js";
import { checkShape } from "./check.js";
import type { BiasEncoding } from "./position-encoding.js";

/** What KERPLE learns: two numbers a head. */
export interface KerpleWeights {
  /** r_1 of each head, above 0, [H]. */
  readonly scale: Tensor;
  /** r_2 of each head, above 0 (at most 2 for "power"), [H]. */
  readonly rate: Tensor;
}

/**
 * Biases scores by a conditionally positive definite kernel: -r_1 log(1 + r_2 |i - j|), or -r_1 |i - j|^r_2.
 *
 * Shapes: scale and rate [H] -> [1, H, T, S]. Differentiable in both weights.
 * @param options.kernel  "log" (default; the paper's best) or "power"
 * @returns an encoding of kind "bias" that borrows the weights; that they stay positive is the caller's to see to
 * @throws HeddleError "shape" if scale and rate are not vectors of one length
 * @see Chi et al. 2022, KERPLE, arXiv:2205.09921 (logarithmic and power variants). Departures: none
 */
export function kerple(
  weights: KerpleWeights,
  options: { readonly kernel?: "log" | "power" } = {},
): BiasEncoding {
  const { kernel = "log" } = options;
  checkShape("kerple", { scale: weights.scale }, ["H"]);
  const [H = 1] = weights.scale.shape;
  checkShape("kerple", { rate: weights.rate }, [H]);
  return {
    kind: "bias",
    bias: (alignment) => {
      const full = alignmentOf("kerple", alignment);
      const { device, dtype } = weights.scale;
      return scope(device, () => {
        const distances = Float64Array.from(relativePositions(full), Math.abs);
        const [scale, rate] = [weights.scale.reshape([H, 1]), weights.rate.reshape([H, 1])];
        const table =
          kernel === "log"
            ? tensor(device, distances, { dtype }).mul(rate).add(1).log()
            : powersOf(distances, rate);
        return biasByDistance(table.mul(scale).neg(), full);
      });
    },
  };
}

/** distances^rate as exp(rate log(distance)), 0 at distance 0, where the gradient is 0 too: rate [H, 1] -> [H, N]. */
function powersOf(distances: Float64Array, rate: Tensor): Tensor {
  const { device, dtype } = rate;
  const logs = tensor(
    device,
    distances.map((n) => Math.log(Math.max(n, 1))),
    { dtype },
  );
  const isApart = tensor(
    device,
    distances.map((n) => (n === 0 ? 0 : 1)),
    { dtype },
  );
  return rate.mul(logs).exp().mul(isApart);
}
