import { type Device, HeddleError, scope, tensor } from "@heddle/tensor";
import { alignmentOf, biasByDistance, relativePositions } from "./alignment.js";
import { checkCount, checkPositive } from "./check.js";
import type { BiasEncoding } from "./position-encoding.js";

/** The sinusoids whose product is the bias. */
export interface SandwichOptions {
  readonly numHeads: number;
  /** Features of the sinusoids, even; unrelated to the head's. Default 128. */
  readonly dim?: number;
  /** Longest wavelength / 2 pi, unitless. Default 10 000. */
  readonly base?: number;
}

/**
 * Biases scores by the product of two sinusoidal positions: b[h, i, j] = H / (8 h) sum_k cos((i - j) base^(-2k / dim)), h = 1..H.
 *
 * Shapes: -> [1, H, T, S]. The table is computed in float64.
 * @returns an encoding of kind "bias", which holds no tensors
 * @throws HeddleError "config" if numHeads or dim is no count, dim is odd or base is not positive
 * @see Chi et al. 2023, Dissecting Transformer Length Extrapolation, arXiv:2212.10356 (Sandwich). Departures: none
 */
export function sandwich(device: Device, options: SandwichOptions): BiasEncoding {
  const { numHeads, dim = 128, base = 10_000 } = options;
  checkCount("sandwich", "numHeads", numHeads);
  checkCount("sandwich", "dim", dim);
  checkPositive("sandwich", "base", base);
  if (dim % 2 !== 0) {
    throw new HeddleError(
      "config",
      `sandwich: dim must be even, because each angle gives a sine and a cosine; got dim ${dim}. Use ${dim + 1}.`,
      { dim },
    );
  }
  const product = (distance: number) => {
    let sum = 0;
    for (let k = 0; k < dim / 2; k++) sum += Math.cos(distance * base ** ((-2 * k) / dim));
    return sum;
  };
  return {
    kind: "bias",
    bias: (alignment) => {
      const full = alignmentOf("sandwich", alignment);
      const products = relativePositions(full).map(product);
      const table = Float64Array.from({ length: numHeads * products.length }, (_, at) => {
        const head = Math.floor(at / products.length) + 1;
        return ((products[at % products.length] ?? 0) * numHeads) / (8 * head);
      });
      return scope(device, () =>
        biasByDistance(tensor(device, table, { shape: [numHeads, products.length] }), full),
      );
    },
  };
}
