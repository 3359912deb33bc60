import { fromHalf } from "../half.js";
import { u16At } from "./block-codec.js";

/** F32: little-endian IEEE binary32. */
export function decodeF32(bytes: Uint8Array, out: Float32Array): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let i = 0; i < out.length; i++) out[i] = view.getFloat32(4 * i, true);
}

/** F16: little-endian IEEE binary16. */
export function decodeF16(bytes: Uint8Array, out: Float32Array): void {
  for (let i = 0; i < out.length; i++) out[i] = fromHalf(u16At(bytes, 2 * i));
}

/** BF16: the upper 16 bits of a binary32. */
export function decodeBF16(bytes: Uint8Array, out: Float32Array): void {
  const bits = new Uint32Array(out.buffer, out.byteOffset, out.length);
  for (let i = 0; i < out.length; i++) bits[i] = u16At(bytes, 2 * i) << 16;
}
