import { fromHalf, roundHalfEven, toHalf } from "../half.js";
import { type BlockRounder, i32At, inverseOf, setU16, u16At } from "./block-codec.js";
import { fitScale } from "./fit-scale.js";

/**
 * Q4_0: x = d (q - 8). A block of 32: d f16 | 16 bytes, element i in the low half of byte i, i + 16 in the high half.
 * 4.5 bits per weight.
 *
 * @see ggml, `block_q4_0`, `dequantize_row_q4_0`
 */
export function decodeQ4_0(bytes: Uint8Array, out: Float32Array): void {
  for (let block = 0, at = 0; block < out.length; block += 32, at += 18) {
    const d = fromHalf(u16At(bytes, at));
    for (let i = 0; i < 16; i++) {
      const pair = bytes[at + 2 + i] ?? 0;
      out[block + i] = d * ((pair & 15) - 8);
      out[block + i + 16] = d * ((pair >> 4) - 8);
    }
  }
}

/** Q4_1: x = d q + m. A block of 32: d f16 | m f16 | 16 bytes as in Q4_0. 5 bits per weight. */
export function decodeQ4_1(bytes: Uint8Array, out: Float32Array): void {
  for (let block = 0, at = 0; block < out.length; block += 32, at += 20) {
    const d = fromHalf(u16At(bytes, at));
    const m = fromHalf(u16At(bytes, at + 2));
    for (let i = 0; i < 16; i++) {
      const pair = bytes[at + 4 + i] ?? 0;
      out[block + i] = d * (pair & 15) + m;
      out[block + i + 16] = d * (pair >> 4) + m;
    }
  }
}

/** Q5_0: x = d (q - 16). A block of 32: d f16 | bit 4 of element i in bit i of an u32 | low bits as in Q4_0. 5.5 bits per weight. */
export function decodeQ5_0(bytes: Uint8Array, out: Float32Array): void {
  for (let block = 0, at = 0; block < out.length; block += 32, at += 22) {
    const d = fromHalf(u16At(bytes, at));
    const high = i32At(bytes, at + 2);
    for (let i = 0; i < 16; i++) {
      const pair = bytes[at + 6 + i] ?? 0;
      out[block + i] = d * (((pair & 15) | (((high >> i) & 1) << 4)) - 16);
      out[block + i + 16] = d * (((pair >> 4) | (((high >> (i + 16)) & 1) << 4)) - 16);
    }
  }
}

/** Q5_1: x = d q + m. A block of 32: d f16 | m f16 | fifth bits and low bits as in Q5_0. 6 bits per weight. */
export function decodeQ5_1(bytes: Uint8Array, out: Float32Array): void {
  for (let block = 0, at = 0; block < out.length; block += 32, at += 24) {
    const d = fromHalf(u16At(bytes, at));
    const m = fromHalf(u16At(bytes, at + 2));
    const high = i32At(bytes, at + 4);
    for (let i = 0; i < 16; i++) {
      const pair = bytes[at + 8 + i] ?? 0;
      out[block + i] = d * ((pair & 15) | (((high >> i) & 1) << 4)) + m;
      out[block + i + 16] = d * ((pair >> 4) | (((high >> (i + 16)) & 1) << 4)) + m;
    }
  }
}

/**
 * Q4_0: d = (the x of greatest size) / -8, q = min(15, trunc(x / d + 8.5)); every step in f32.
 *
 * The greatest value gets code 0 = -8, the one that has no partner of the other sign.
 * @see ggml, `quantize_row_q4_0_ref`
 */
export function encodeQ4_0(values: Float32Array, bytes: Uint8Array): void {
  for (let block = 0, at = 0; block < values.length; block += 32, at += 18) {
    let greatest = 0;
    for (let i = block; i < block + 32; i++) {
      const value = values[i] ?? 0;
      if (Math.abs(value) > Math.abs(greatest)) greatest = value;
    }
    const d = greatest / -8;
    const inverse = inverseOf(d);
    setU16(bytes, at, toHalf(d));
    for (let i = 0; i < 16; i++) {
      const [low, high] = [values[block + i] ?? 0, values[block + 16 + i] ?? 0];
      bytes[at + 2 + i] = codeQ4_0(low, inverse) | (codeQ4_0(high, inverse) << 4);
    }
  }
}

function codeQ4_0(value: number, inverse: number): number {
  return Math.min(15, Math.trunc(Math.fround(Math.fround(value * inverse) + 8.5)));
}

/** Q4_0 with errors of each value weighted, one element after the other; d of least weighted squared error. */
export const roundQ4_0: BlockRounder = (values, weights, { bytes, at }) => {
  const half = toHalf(fitScale(values, weights, 8).scale);
  const d = fromHalf(half);
  setU16(bytes, at, half);
  return (i, value) => {
    const q = d === 0 ? 0 : Math.max(-8, Math.min(7, roundHalfEven(value / d)));
    const byte = at + 2 + (i & 15);
    bytes[byte] = (bytes[byte] ?? 0) | ((q + 8) << ((i >> 4) * 4));
    return d * q;
  };
};
