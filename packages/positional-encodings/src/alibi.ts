import { type Device, scope, tensor } from "@heddle/tensor";
import { alignmentOf, biasByDistance, relativePositions } from "./alignment.js";
import { checkCount, checkPositive } from "./check.js";
import type { BiasEncoding } from "./position-encoding.js";

/** Order of the slopes of a head count that is no power of two: the paper's (and BLOOM's), or MPT's. */
export type AlibiOrder = "paper" | "mpt";

/** How ALiBi chooses the slopes of its heads, and what it does with keys after the query. */
export interface AlibiOptions {
  readonly numHeads: number;
  /** Default "paper". */
  readonly order?: AlibiOrder;
  /** The exponents run to -maxBias. Default 8 (the paper's); MPT's `alibi_bias_max`. */
  readonly maxBias?: number;
  /** Also for keys after the query: "signed" slope (j - i), which a causal mask hides, or "symmetric" -slope |j - i|. Default "signed". */
  readonly direction?: "signed" | "symmetric";
}

/**
 * Computes the slope of each head: m_h = 2^(-maxBias h / H), h = 1..H, where H is a power of two.
 *
 * Otherwise the paper takes the slopes of the power of two below and fills up with the 1st, 3rd, .. of the power above; MPT
 * takes the 2nd, 4th, .. of the power above, then its 1st, 3rd, ...
 * @returns the slopes [H] in float64: bias per token of distance
 * @throws HeddleError "config" if numHeads is no count or maxBias is not positive
 * @see Press et al. 2022, ALiBi, arXiv:2108.12409, section 3 and its released code
 */
export function alibiSlopes(options: AlibiOptions): Float64Array {
  const { numHeads, order = "paper", maxBias = 8 } = options;
  checkCount("alibiSlopes", "numHeads", numHeads);
  checkPositive("alibiSlopes", "maxBias", maxBias);
  const powers = (count: number) =>
    Array.from({ length: count }, (_, h) => 2 ** ((-maxBias * (h + 1)) / count));
  const below = 2 ** Math.floor(Math.log2(numHeads));
  if (below === numHeads) return Float64Array.from(powers(numHeads));
  const above = powers(2 * below);
  const odd = above.filter((_, h) => h % 2 === 0);
  const slopes =
    order === "paper" ? [...powers(below), ...odd] : [...above.filter((_, h) => h % 2 === 1), ...odd];
  return Float64Array.from(slopes.slice(0, numHeads));
}

/**
 * Biases scores linearly with distance: b[h, i, j] = m_h (j - i).
 *
 * Shapes: -> [1, H, T, S].
 * @returns an encoding of kind "bias", which holds no tensors
 * @throws HeddleError "config" if numHeads is no count or maxBias is not positive
 * @see Press et al. 2022, ALiBi, arXiv:2108.12409, section 3. Departures: order "mpt", direction "symmetric" (for encoders)
 */
export function alibi(device: Device, options: AlibiOptions): BiasEncoding {
  const slopes = alibiSlopes(options);
  const { direction = "signed" } = options;
  return {
    kind: "bias",
    bias: (alignment) => {
      const full = alignmentOf("alibi", alignment);
      const distances = relativePositions(full).map((n) => (direction === "signed" ? n : -Math.abs(n)));
      const values = slopes.length * distances.length;
      const table = Float64Array.from(
        { length: values },
        (_, at) => (slopes[Math.floor(at / distances.length)] ?? 0) * (distances[at % distances.length] ?? 0),
      );
      return scope(device, () =>
        biasByDistance(tensor(device, table, { shape: [slopes.length, distances.length] }), full),
      );
    },
  };
}
