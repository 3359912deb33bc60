/** Twice the values of E2M1 by code; the scale is halved in turn. */
const doubled = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12] as const;

/**
 * MXFP4: x = 2^(e - 127) E2M1[q]. A block of 32: e u8 | 16 bytes as in Q4_0. 4.25 bits per weight.
 *
 * @see OCP Microscaling Formats (MX) v1.0; ggml, `block_mxfp4`, `dequantize_row_mxfp4`
 * Differs from the paper: as in ggml, e = 255 is 2^128 rather than NaN, and the code of -0 gives 0.
 */
export function decodeMXFP4(bytes: Uint8Array, out: Float32Array): void {
  for (let block = 0, at = 0; block < out.length; block += 32, at += 17) {
    const halfScale = 2 ** ((bytes[at] ?? 0) - 128);
    for (let i = 0; i < 16; i++) {
      const pair = bytes[at + 1 + i] ?? 0;
      out[block + i] = halfScale * (doubled[pair & 15] ?? 0);
      out[block + i + 16] = halfScale * (doubled[pair >> 4] ?? 0);
    }
  }
}
