import { numberToF16 } from "@heddle/tensor";

/** Little-endian bytes of floats, half floats rounded to the nearest. */
export function floatBytes(type: "F32" | "F16", values: Float32Array): Uint8Array {
  if (type === "F32") return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  const halves = new Uint16Array(values.length);
  for (let i = 0; i < values.length; i++) halves[i] = numberToF16(values[i] ?? 0);
  return new Uint8Array(halves.buffer);
}
