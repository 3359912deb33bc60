import { fromHalf } from "../half.js";
import { u16At } from "./block-codec.js";
import { scaleAndMin } from "./k-scales.js";

/**
 * Q5_K: x = d s q - dmin m. A block of 256 in 8 sub-blocks of 32: d f16 | dmin f16 | s and m, 12 bytes |
 * bit 4 of q in 32 bytes, sub-block j in bit j | low bits 128 bytes as in Q4_K. 5.5 bits per weight.
 *
 * @see ggml, `block_q5_K`, `dequantize_row_q5_K`
 */
export function decodeQ5_K(bytes: Uint8Array, out: Float32Array): void {
  for (let block = 0, at = 0; block < out.length; block += 256, at += 176) {
    const d = fromHalf(u16At(bytes, at));
    const dmin = fromHalf(u16At(bytes, at + 2));
    for (let j = 0; j < 8; j++) {
      const [scale, min] = scaleAndMin(bytes, at + 4, j);
      for (let i = 0; i < 32; i++) {
        const low = ((bytes[at + 48 + (j >> 1) * 32 + i] ?? 0) >> ((j & 1) * 4)) & 15;
        const high = ((bytes[at + 16 + i] ?? 0) >> j) & 1;
        out[block + j * 32 + i] = d * scale * (low | (high << 4)) - dmin * min;
      }
    }
  }
}
