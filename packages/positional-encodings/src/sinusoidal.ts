import { type Device, HeddleError, scope, type Tensor, tensor } from "@heddle/tensor";
import { checkCount, checkPositive } from "./check.js";
import type { AddEncoding } from "./position-encoding.js";

/** Order of the features: [sin, cos, sin, cos, ..] as the paper, or [all sin | all cos] as tensor2tensor, XLNet and Marian. */
export type SinusoidalLayout = "interleaved" | "concat";

/** The features of a position. */
export interface SinusoidalOptions {
  /** E, even. */
  readonly modelDim: number;
  /** Longest wavelength / 2 pi, unitless. Default 10 000 (the paper's). */
  readonly base?: number;
  /** Default "interleaved". */
  readonly layout?: SinusoidalLayout;
}

/**
 * Computes sinusoidal features of positions: p[n, 2i] = sin(n base^(-2i / E)), p[n, 2i + 1] = cos of the same angle.
 *
 * Shapes: positions N numbers, in tokens (negative ones are allowed: distances) -> [N, E] in the device's float.
 * Angles are computed in float64 and rounded once: a position of a million is exact to 1e-7.
 * @returns a new tensor that the caller disposes
 * @throws HeddleError "config" if modelDim is odd or base is not positive
 * @see Vaswani et al. 2017, arXiv:1706.03762, section 3.5. Departures: layout "concat"
 */
export function sinusoidalTable(
  device: Device,
  positions: ArrayLike<number>,
  options: SinusoidalOptions,
): Tensor {
  const { modelDim, base = 10_000, layout = "interleaved" } = options;
  checkCount("sinusoidalTable", "modelDim", modelDim);
  checkPositive("sinusoidalTable", "base", base);
  if (modelDim % 2 !== 0) {
    throw new HeddleError(
      "config",
      `sinusoidalTable: modelDim must be even, because each angle gives a sine and a cosine; got modelDim ${modelDim}. Use ${modelDim + 1}.`,
      { modelDim },
    );
  }
  const values = new Float64Array(positions.length * modelDim);
  for (let row = 0; row < positions.length; row++) {
    for (let i = 0; i < modelDim / 2; i++) {
      const angle = (positions[row] ?? 0) * base ** ((-2 * i) / modelDim);
      const [sine, cosine] = layout === "concat" ? [i, modelDim / 2 + i] : [2 * i, 2 * i + 1];
      values[row * modelDim + sine] = Math.sin(angle);
      values[row * modelDim + cosine] = Math.cos(angle);
    }
  }
  return tensor(device, values, { shape: [positions.length, modelDim] });
}

/**
 * Adds sinusoidal features to the input: y = x + p[position].
 *
 * Shapes: x [B, T, E] -> [B, T, E]; positions [T] or [B, T] int32, in tokens, 0..maxSeqLen-1 (others add zeros).
 * @param options.maxSeqLen  rows of the table, in tokens, where positions are given; without positions 0..T-1 are computed
 * @returns an encoding of kind "add", which holds no tensors
 * @throws HeddleError "config" when it is applied, if positions are given without maxSeqLen; the errors of `sinusoidalTable`
 * @see Vaswani et al. 2017, arXiv:1706.03762, section 3.5
 */
export function sinusoidal(options: SinusoidalOptions & { readonly maxSeqLen?: number }): AddEncoding {
  const { maxSeqLen } = options;
  return {
    kind: "add",
    addTo: (x, { positions } = {}) =>
      scope(x.device, () => {
        const seqLen = x.shape.at(-2) ?? 0;
        const rows = positions === undefined ? seqLen : requireMaxSeqLen(maxSeqLen);
        const table = sinusoidalTable(
          x.device,
          Array.from({ length: rows }, (_, n) => n),
          options,
        ).cast(x.dtype);
        return x.add(positions === undefined ? table : table.take(positions));
      }),
  };
}

function requireMaxSeqLen(maxSeqLen: number | undefined): number {
  if (maxSeqLen !== undefined) return maxSeqLen;
  throw new HeddleError(
    "config",
    "sinusoidal: maxSeqLen is needed where positions are given, because they are looked up in a table; got maxSeqLen undefined. Give the longest text, in tokens.",
  );
}
