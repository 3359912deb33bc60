import { fromHalf } from "../half.js";
import { u16At } from "./block-codec.js";

/**
 * Q3_K: x = d (s - 32) (q - 4). A block of 256 in 16 sub-blocks of 16: bit 2 of q in 32 bytes, element i in bit i >> 5
 * of byte i & 31 | low bits of q 64 bytes as in Q2_K | 16 scales of 6 bits in 12 bytes | d f16. 3.4375 bits per weight.
 *
 * @see ggml, `block_q3_K`, `dequantize_row_q3_K`
 */
export function decodeQ3_K(bytes: Uint8Array, out: Float32Array): void {
  for (let block = 0, at = 0; block < out.length; block += 256, at += 110) {
    const d = fromHalf(u16At(bytes, at + 108));
    for (let i = 0; i < 256; i++) {
      const high = ((bytes[at + (i & 31)] ?? 0) >> (i >> 5)) & 1;
      const fours = bytes[at + 32 + (i >> 7) * 32 + (i & 31)] ?? 0;
      const q = ((fours >> (((i >> 5) & 3) * 2)) & 3) | (high << 2);
      out[block + i] = d * (scaleOf(bytes, at + 96, i >> 4) - 32) * (q - 4);
    }
  }
}

/** Scale j (0..15): low 4 bits in the halves of bytes 0-7, upper 2 bits in pairs of bytes 8-11. */
function scaleOf(bytes: Uint8Array, at: number, j: number): number {
  const low = ((bytes[at + (j & 7)] ?? 0) >> (j < 8 ? 0 : 4)) & 15;
  const high = ((bytes[at + 8 + (j & 3)] ?? 0) >> ((j >> 2) * 2)) & 3;
  return low | (high << 4);
}
