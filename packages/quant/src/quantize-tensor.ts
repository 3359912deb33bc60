import { HeddleError, type Tensor } from "@heddle/tensor";
import { roundWithFeedback } from "./error-feedback.js";
import type { InputMoments } from "./input-moments.js";
import { accessPanels, createPanels } from "./panels.js";
import { BLOCK_SIZE, type QuantLayout } from "./quant-format.js";
import { quantFromArrays } from "./quant-from-blocks.js";
import type { QuantTensor } from "./quant-tensor.js";

/** How a dense weight is rounded: q = clamp(round(w / scale + zero), qmin, qmax) in groups of inputs that share a scale. */
export interface QuantScheme {
  /** 2..8; up to 4 bits are stored in 4, more in 8. */
  readonly bits: number;
  /** Inputs that share a scale: 16, or a multiple of 32. Default: all inputs of an output ("per channel"). */
  readonly groupSize?: number;
  /** Whether zero is the middle of the range: scale = max|w| / qmax. Else the range is that of the group. Default true. */
  readonly isSymmetric?: boolean;
}

export interface QuantizeTensorOptions {
  /**
   * Of the weight's inputs, as `observeInputs` gives them: then the errors of products with such inputs are kept small (GPTQ), not those
   * of the weights. Groups must fit into windows: one scale for all inputs needs a window of all.
   */
  readonly moments?: InputMoments;
}

/**
 * Quantises a dense weight by rounding to the nearest level (affine quantisation), or with `moments` by GPTQ.
 *
 * Shapes: weight [out, in]. Symmetric: scale = max|w| / (2^(bits-1) - 1), levels -2^(bits-1)..2^(bits-1)-1. Asymmetric:
 * scale = (max(w, 0) - min(w, 0)) / (2^bits - 1), zero = round(-min(w, 0) / scale). Ties go to the even level; without `moments` no
 * weight is off by more than half a scale.
 * @param weight  borrowed; a float matrix on any device
 * @returns a weight on the same device that the caller disposes
 * @throws HeddleError "shape" if it is no matrix or has other inputs than the moments, "config" for an impossible scheme, moments
 *   whose windows split groups, or a weight that is not finite
 * @see Jacob et al. 2018, arXiv:1712.05877, section 2.1
 */
export async function quantizeTensor(
  weight: Tensor,
  scheme: QuantScheme,
  { moments }: QuantizeTensorOptions = {},
): Promise<QuantTensor> {
  const [outFeatures, inFeatures] = weight.shape;
  if (weight.rank !== 2 || outFeatures === undefined || inFeatures === undefined) {
    throw new HeddleError(
      "shape",
      `quantizeTensor: the weight must be a matrix [out, in]; got [${weight.shape.join(", ")}]. Reshape it.`,
      { shape: weight.shape },
    );
  }
  const layout = layoutOf(scheme, outFeatures, inFeatures);
  const values = Float32Array.from(await weight.data());
  const bad = values.findIndex((value) => !Number.isFinite(value));
  if (bad >= 0) {
    throw new HeddleError(
      "config",
      `quantizeTensor: weights must be finite; got ${values[bad]} at [${Math.floor(bad / inFeatures)}, ${bad % inFeatures}]. Mend the weights.`,
      { at: bad },
    );
  }
  const arrays = createPanels(layout);
  const access = accessPanels(layout, arrays);
  const { scales, mins } = arrays;
  const shift = layout.codeBits === 8 && mins ? 128 : -layout.offset;
  const keepScale = (row: number, start: number, { scale, zero }: GroupRange) => {
    const at = access.groupAt(row, start / layout.groupSize);
    if (scales) scales[at] = scale;
    if (mins) mins[at] = scale * (shift - zero);
  };
  if (moments === undefined) {
    for (let row = 0; row < outFeatures; row++) {
      for (let start = 0; start < inFeatures; start += layout.groupSize) {
        const from = row * inFeatures + start;
        const part = values.subarray(from, from + Math.min(layout.groupSize, inFeatures - start));
        const { codes, ...range } = roundGroup(part, scheme);
        keepScale(row, start, range);
        for (const [i, code] of codes.entries()) access.setCode(row, start + i, code - shift);
      }
    }
  } else {
    checkWidth(moments, inFeatures);
    roundWithFeedback(values, {
      moments,
      groupSize: layout.groupSize,
      begin: ({ row, start, values: part }) => {
        const range = rangeOf(part, scheme);
        keepScale(row, start, range);
        return (i, value) => {
          const code = codeOf(value, range);
          access.setCode(row, start + i, code - shift);
          return range.scale * (code - range.zero);
        };
      },
    });
  }
  return quantFromArrays(weight.device, layout, arrays);
}

function layoutOf(scheme: QuantScheme, outFeatures: number, inFeatures: number): QuantLayout {
  const depth = Math.max(1, Math.ceil(inFeatures / BLOCK_SIZE)) * BLOCK_SIZE;
  const { bits, groupSize = depth, isSymmetric = true } = scheme;
  checkScheme({ bits, groupSize });
  const codeBits = bits <= 4 ? 4 : 8;
  return {
    codeBits,
    offset: isSymmetric && codeBits === 4 ? 8 : 0,
    groupSize: Math.min(groupSize, depth),
    scaleDType: "f32",
    hasMin: !isSymmetric,
    inFeatures,
    outFeatures,
  };
}

function checkScheme({ bits, groupSize }: { readonly bits: number; readonly groupSize: number }): void {
  if (!(Number.isInteger(bits) && bits >= 2 && bits <= 8)) {
    throw new HeddleError("config", `quantizeTensor: bits must be 2..8; got ${bits}. Use 4 or 8.`, { bits });
  }
  if (groupSize !== 16 && !(Number.isInteger(groupSize) && groupSize > 0 && groupSize % BLOCK_SIZE === 0)) {
    throw new HeddleError(
      "config",
      `quantizeTensor: groupSize must be 16 or a multiple of 32; got ${groupSize}. Use 32, 64 or 128, or leave it out for one scale an output.`,
      { groupSize },
    );
  }
}

function checkWidth({ width }: InputMoments, inFeatures: number): void {
  if (width === inFeatures) return;
  const message = `quantizeTensor: moments must be of the weight's inputs; got moments of ${width}, ${inFeatures} inputs. Observe this weight.`;
  throw new HeddleError("shape", message, { width, inFeatures });
}

/** Where the levels of one group lie. */
interface GroupRange {
  readonly scale: number;
  readonly zero: number;
  readonly qmin: number;
  readonly qmax: number;
}

function rangeOf(values: Float32Array, { bits, isSymmetric = true }: QuantScheme): GroupRange {
  const [qmin, qmax] = isSymmetric ? [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1] : [0, 2 ** bits - 1];
  let [low, high] = [0, 0];
  for (const value of values) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  const span = isSymmetric ? Math.max(high, -low) / qmax : (high - low) / qmax;
  // A group so small that its scale is denormal becomes zeros: such numbers slow every product down.
  const scale = span < 2 ** -120 ? 0 : Math.fround(span);
  const zero = isSymmetric ? 0 : Math.min(qmax, roundHalfEven(scale === 0 ? 0 : -low / span));
  return { scale, zero, qmin, qmax };
}

function codeOf(value: number, { scale, zero, qmin, qmax }: GroupRange): number {
  const inverse = scale === 0 ? 0 : 1 / scale;
  return Math.max(qmin, Math.min(qmax, roundHalfEven(value * inverse + zero)));
}

/** Scale, zero and codes (from qmin to qmax of the scheme) of one group. */
export function roundGroup(
  values: Float32Array,
  scheme: QuantScheme,
): GroupRange & { readonly codes: Int32Array } {
  const range = rangeOf(values, scheme);
  return { ...range, codes: Int32Array.from(values, (value) => codeOf(value, range)) };
}

/** Nearest whole number, ties to even, below 2^51. */
function roundHalfEven(value: number): number {
  const magic = 6755399441055744; // 1.5 * 2^52: numbers of this size have no fraction
  return value + magic - magic;
}
