import { fromHalf } from "../half.js";
import { u16At } from "./block-codec.js";

/**
 * Q2_K: x = d s q - dmin m. A block of 256 in 16 sub-blocks of 16: 16 bytes with s (low half) and m (high half) |
 * q 64 bytes, each with 2 bits of elements 32 apart | d f16 | dmin f16. 2.625 bits per weight.
 *
 * @see ggml, `block_q2_K`, `dequantize_row_q2_K`
 */
export function decodeQ2_K(bytes: Uint8Array, out: Float32Array): void {
  for (let block = 0, at = 0; block < out.length; block += 256, at += 84) {
    const d = fromHalf(u16At(bytes, at + 80));
    const dmin = fromHalf(u16At(bytes, at + 82));
    for (let i = 0; i < 256; i++) {
      const scales = bytes[at + (i >> 4)] ?? 0;
      const fours = bytes[at + 16 + (i >> 7) * 32 + (i & 31)] ?? 0;
      const q = (fours >> (((i >> 5) & 3) * 2)) & 3;
      out[block + i] = d * (scales & 15) * q - dmin * (scales >> 4);
    }
  }
}
