import { fromHalf, roundHalfEven, toHalf } from "../half.js";
import { type BlockRounder, setU16, u16At } from "./block-codec.js";
import { fitScaleAndMin, type ScaleAndMin } from "./fit-scale-and-min.js";
import { scaleAndMin, setScaleAndMin } from "./k-scales.js";

const blockBytes = 144;
const f32 = Math.fround;

/**
 * Q4_K: x = d s q - dmin m. A block of 256 in 8 sub-blocks of 32: d f16 | dmin f16 | s and m, 12 bytes | q 128 bytes,
 * sub-blocks 2k and 2k + 1 in the low and high halves of bytes 32k to 32k + 31. 4.5 bits per weight.
 *
 * @see ggml, `block_q4_K`, `dequantize_row_q4_K`
 */
export function decodeQ4_K(bytes: Uint8Array, out: Float32Array): void {
  for (let block = 0, at = 0; block < out.length; block += 256, at += blockBytes) {
    const d = fromHalf(u16At(bytes, at));
    const dmin = fromHalf(u16At(bytes, at + 2));
    for (let j = 0; j < 8; j++) {
      const [scale, min] = scaleAndMin(bytes, at + 4, j);
      for (let i = 0; i < 32; i++) {
        const q = ((bytes[at + 16 + (j >> 1) * 32 + i] ?? 0) >> ((j & 1) * 4)) & 15;
        out[block + j * 32 + i] = d * scale * q - dmin * min;
      }
    }
  }
}

/** Scale and minimum of every 32 values, as `fitPart` gives them. */
export interface FittedScales {
  readonly scales: Float32Array;
  readonly mins: Float32Array;
}

/**
 * Q4_K: fits scale and minimum of each sub-block by weighted least squares with weights rms(x) + |x|, quantises these
 * to 6 bits, then rounds x to the levels that remain; every step in f32.
 *
 * @param fitted  what the fits give, where they were made before
 * @see ggml, `quantize_row_q4_K_ref`
 */
export function encodeQ4_K(values: Float32Array, bytes: Uint8Array, fitted?: FittedScales): void {
  for (let block = 0, at = 0; block < values.length; block += 256, at += blockBytes) {
    const partOf = (j: number) => values.subarray(block + j * 32, block + j * 32 + 32);
    const fits = Array.from({ length: 8 }, (_, j) => {
      const part = block / 32 + j;
      return fitted === undefined
        ? fitPart(partOf(j))
        : { scale: fitted.scales[part] ?? 0, min: fitted.mins[part] ?? 0 };
    });
    encodeScales(fits, bytes, at);
    const d = fromHalf(u16At(bytes, at));
    const dmin = fromHalf(u16At(bytes, at + 2));
    for (let j = 0; j < 8; j++) {
      const [scale, min] = scaleAndMin(bytes, at + 4, j);
      const [step, offset] = [d * scale, dmin * min];
      const { codes } = step === 0 ? fitPart(partOf(j)) : noCodes;
      const start = at + 16 + (j >> 1) * 32;
      const shift = (j & 1) * 4;
      for (let i = 0; i < 32; i++) {
        const q = step === 0 ? (codes[i] ?? 0) : toLevel(values[block + j * 32 + i] ?? 0, step, offset);
        bytes[start + i] = (bytes[start + i] ?? 0) | (q << shift);
      }
    }
  }
}

const noCodes = { codes: new Uint8Array() };

/** Q4_K with errors of each value weighted, one element after the other. */
export const roundQ4_K: BlockRounder = (values, weights, { bytes, at }) => {
  const parts = Array.from({ length: 8 }, (_, j) => [j * 32, j * 32 + 32] as const);
  const fits = parts.map(([from, to]) =>
    fitScaleAndMin(values.subarray(from, to), weights.subarray(from, to)),
  );
  encodeScales(fits, bytes, at);
  const d = fromHalf(u16At(bytes, at));
  const dmin = fromHalf(u16At(bytes, at + 2));
  return (i, value) => {
    const j = i >> 5;
    const [scale, min] = scaleAndMin(bytes, at + 4, j);
    const q = d * scale === 0 ? 0 : toLevel(value, d * scale, dmin * min);
    const byte = at + 16 + (j >> 1) * 32 + (i & 31);
    bytes[byte] = (bytes[byte] ?? 0) | (q << ((j & 1) * 4));
    return f32(d * scale * q - dmin * min);
  };
};

/** Scale and minimum of one sub-block before they are rounded, and its codes. */
export function fitPart(part: Float32Array): ScaleAndMin {
  let squares = 0;
  for (const x of part) squares = f32(squares + f32(x * x));
  const rms = f32(Math.sqrt(f32(squares / 32)));
  return fitScaleAndMin(
    part,
    part.map((x) => rms + Math.abs(x)),
  );
}

function encodeScales(
  fits: readonly Pick<ScaleAndMin, "scale" | "min">[],
  bytes: Uint8Array,
  at: number,
): void {
  const maxScale = Math.max(0, ...fits.map(({ scale }) => scale));
  const maxMin = Math.max(0, ...fits.map(({ min }) => min));
  const inverseScale = maxScale > 0 ? f32(63 / maxScale) : 0;
  const inverseMin = maxMin > 0 ? f32(63 / maxMin) : 0;
  for (const [j, fit] of fits.entries()) {
    const scale = Math.min(63, roundHalfEven(f32(inverseScale * fit.scale)));
    const min = Math.min(63, roundHalfEven(f32(inverseMin * fit.min)));
    setScaleAndMin(bytes, at + 4, { j, scale, min });
  }
  setU16(bytes, at, toHalf(f32(maxScale / 63)));
  setU16(bytes, at + 2, toHalf(f32(maxMin / 63)));
}

/** Code of the nearest level step q - offset. */
function toLevel(x: number, step: number, offset: number): number {
  return Math.max(0, Math.min(15, roundHalfEven(f32(f32(x + offset) / step))));
}
