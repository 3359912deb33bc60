import { fromHalf } from "../half.js";
import { u16At } from "./block-codec.js";

/** The 16 levels, denser near zero as weights are. */
const levels = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113] as const;

/**
 * IQ4_NL: x = d level[q]. A block of 32: d f16 | 16 bytes as in Q4_0. 4.5 bits per weight.
 *
 * @see ggml, `block_iq4_nl`, `dequantize_row_iq4_nl`, `kvalues_iq4nl`
 */
export function decodeIQ4_NL(bytes: Uint8Array, out: Float32Array): void {
  for (let block = 0, at = 0; block < out.length; block += 32, at += 18) {
    const d = fromHalf(u16At(bytes, at));
    for (let i = 0; i < 16; i++) {
      const pair = bytes[at + 2 + i] ?? 0;
      out[block + i] = d * (levels[pair & 15] ?? 0);
      out[block + i + 16] = d * (levels[pair >> 4] ?? 0);
    }
  }
}
