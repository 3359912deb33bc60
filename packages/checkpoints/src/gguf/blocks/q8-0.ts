import { fromHalf, roundHalfAway, toHalf } from "../half.js";
import { type BlockRounder, i8At, inverseOf, setU16, u16At } from "./block-codec.js";

const blockBytes = 34;

/**
 * Q8_0: x = d q. A block of 32: d f16 | q 32 x i8. 8.5 bits per weight.
 *
 * @see ggml, `block_q8_0`, `dequantize_row_q8_0`
 */
export function decodeQ8_0(bytes: Uint8Array, out: Float32Array): void {
  for (let block = 0; block < out.length / 32; block++) {
    const at = block * blockBytes;
    const d = fromHalf(u16At(bytes, at));
    for (let i = 0; i < 32; i++) out[block * 32 + i] = d * i8At(bytes, at + 2 + i);
  }
}

/**
 * Q8_0: d = max|x| / 127, q = round(x / d), ties away from zero; every step in f32.
 *
 * @see ggml, `quantize_row_q8_0_ref`
 */
export function encodeQ8_0(values: Float32Array, bytes: Uint8Array): void {
  for (let block = 0; block < values.length / 32; block++) {
    const at = block * blockBytes;
    const from = block * 32;
    let most = 0;
    for (let i = from; i < from + 32; i++) most = Math.max(most, Math.abs(values[i] ?? 0));
    const d = Math.fround(most / 127);
    const inverse = inverseOf(d);
    setU16(bytes, at, toHalf(d));
    for (let i = 0; i < 32; i++)
      bytes[at + 2 + i] = roundHalfAway(Math.fround((values[from + i] ?? 0) * inverse));
  }
}

/** Q8_0, one element after the other; the scale is that of the values at first, whatever their weights. */
export const roundQ8_0: BlockRounder = (values, _, { bytes, at }) => {
  const half = toHalf(values.reduce((most, value) => Math.max(most, Math.abs(value)), 0) / 127);
  const d = fromHalf(half);
  setU16(bytes, at, half);
  return (i, value) => {
    const q = d === 0 ? 0 : Math.max(-127, Math.min(127, roundHalfAway(value / d)));
    bytes[at + 2 + i] = q;
    return d * q;
  };
};
