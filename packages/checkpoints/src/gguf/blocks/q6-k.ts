import { fromHalf, roundHalfEven, toHalf } from "../half.js";
import { type BlockPlace, type BlockRounder, i8At, setU16, u16At } from "./block-codec.js";
import { fitScale } from "./fit-scale.js";

const blockBytes = 210;
const f32 = Math.fround;

/**
 * Q6_K: x = d s (q - 32). A block of 256 in 16 sub-blocks of 16: low 4 bits of q 128 bytes | upper 2 bits 64 bytes |
 * s 16 x i8 | d f16. 6.5625 bits per weight.
 *
 * Of each 128 elements, element i has its low bits in byte i & 63, half i >> 6, and its upper bits in byte i & 31, pair i >> 5.
 * @see ggml, `block_q6_K`, `dequantize_row_q6_K`
 */
export function decodeQ6_K(bytes: Uint8Array, out: Float32Array): void {
  for (let block = 0, at = 0; block < out.length; block += 256, at += blockBytes) {
    const d = fromHalf(u16At(bytes, at + 208));
    for (let i = 0; i < 256; i++) {
      const low = ((bytes[at + lowByteOf(i)] ?? 0) >> lowShiftOf(i)) & 15;
      const high = ((bytes[at + highByteOf(i)] ?? 0) >> highShiftOf(i)) & 3;
      out[block + i] = d * i8At(bytes, at + 192 + (i >> 4)) * ((low | (high << 4)) - 32);
    }
  }
}

/**
 * Q6_K: fits the scale of each sub-block by least squares with weights x^2, quantises the scales to 8 bits with the
 * greatest at -128, then rounds x to the levels that remain; every step in f32.
 *
 * @param fitted  scales of all sub-blocks, where they were fitted before
 * @see ggml, `quantize_row_q6_K_ref`
 */
export function encodeQ6_K(values: Float32Array, bytes: Uint8Array, fitted?: Float32Array): void {
  const codes = new Uint8Array(256);
  for (let block = 0, at = 0; block < values.length; block += 256, at += blockBytes) {
    const place = { bytes, at };
    const partOf = (j: number) => values.subarray(block + j * 16, block + j * 16 + 16);
    const scales = Array.from({ length: 16 }, (_, j) =>
      fitted === undefined ? fitPart(partOf(j)).scale : (fitted[block / 16 + j] ?? 0),
    );
    const steps = encodeScales(scales, place);
    if (steps === undefined) continue; // a block of zeros: all bytes 0
    for (let j = 0; j < 16; j++) {
      const step = steps[j] ?? 0;
      if (step === 0) codes.set(fitPart(partOf(j)).codes, j * 16);
      else for (let i = j * 16; i < j * 16 + 16; i++) codes[i] = toCode(values[block + i] ?? 0, step);
    }
    storeCodes(place, codes);
  }
}

/** Scale of one sub-block before it is rounded, and its codes. */
export function fitPart(part: Float32Array): { readonly scale: number; readonly codes: Uint8Array } {
  return fitScale(
    part,
    part.map((value) => value * value),
    32,
  );
}

/** Q6_K with errors of each value weighted, one element after the other. */
export const roundQ6_K: BlockRounder = (x, weights, place) => {
  const scales = Array.from({ length: 16 }, (_, j) => {
    const [from, to] = [j * 16, j * 16 + 16];
    return fitScale(x.subarray(from, to), weights.subarray(from, to), 32).scale;
  });
  const steps = encodeScales(scales, place);
  return (i, value) => {
    const step = steps?.[i >> 4] ?? 0;
    const code = step === 0 ? 32 : toCode(value, step);
    storeCode(place, i, code);
    return f32(step * (code - 32));
  };
};

/** Writes scale and sub-scales of a block; gives the step of each sub-block, undefined where all are zero. */
function encodeScales(scales: readonly number[], { bytes, at }: BlockPlace): readonly number[] | undefined {
  const greatest = scales.reduce((most, scale) => (Math.abs(scale) > Math.abs(most) ? scale : most), 0);
  if (Math.abs(greatest) < 1e-15) return undefined;
  const inverse = f32(-128 / greatest);
  setU16(bytes, at + 208, toHalf(f32(1 / inverse)));
  for (const [j, scale] of scales.entries())
    bytes[at + 192 + j] = Math.min(127, roundHalfEven(f32(inverse * scale)));
  const d = fromHalf(u16At(bytes, at + 208));
  return scales.map((_, j) => d * i8At(bytes, at + 192 + j));
}

/** Code 0..63 of the nearest level. */
function toCode(value: number, step: number): number {
  return Math.max(-32, Math.min(31, roundHalfEven(f32(value / step)))) + 32;
}

/** Writes the codes of a whole block. */
function storeCodes({ bytes, at }: BlockPlace, codes: Uint8Array): void {
  for (let half = 0; half < 2; half++) {
    const code = (i: number) => codes[half * 128 + i] ?? 0;
    for (let i = 0; i < 64; i++) bytes[at + half * 64 + i] = (code(i) & 15) | ((code(i + 64) & 15) << 4);
    for (let i = 0; i < 32; i++) {
      const [a, b, c, d] = [code(i) >> 4, code(i + 32) >> 4, code(i + 64) >> 4, code(i + 96) >> 4];
      bytes[at + 128 + half * 32 + i] = a | (b << 2) | (c << 4) | (d << 6);
    }
  }
}

/** Writes one code of a block that was empty there. */
function storeCode({ bytes, at }: BlockPlace, i: number, code: number): void {
  const low = at + lowByteOf(i);
  const high = at + highByteOf(i);
  bytes[low] = (bytes[low] ?? 0) | ((code & 15) << lowShiftOf(i));
  bytes[high] = (bytes[high] ?? 0) | ((code >> 4) << highShiftOf(i));
}

// Where in a block the bits of element i lie.
const lowByteOf = (i: number) => (i >> 7) * 64 + (i & 63);
const lowShiftOf = (i: number) => ((i >> 6) & 1) * 4;
const highByteOf = (i: number) => 128 + (i >> 7) * 32 + (i & 31);
const highShiftOf = (i: number) => ((i >> 5) & 3) * 2;
