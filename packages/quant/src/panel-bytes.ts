import { type DType, type HostData, invariant, numberToF16 } from "@heddle/tensor";

/** The bytes of a part as its tensor stores them; half floats are rounded. */
export function panelBytes(dtype: DType, values: HostData | undefined): Uint8Array {
  invariant(values, "a layout lists exactly the parts that it has");
  if (dtype !== "f16") return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  return new Uint8Array(Uint16Array.from(values, (value) => numberToF16(value)).buffer);
}
