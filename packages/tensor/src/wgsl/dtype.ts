import { byteWidth, type DType } from "../dtype.js";
import { invariant } from "../error.js";

/** The type that a dtype has in WGSL arithmetic; f16 and bf16 are computed in f32, small integers in 32 bits. */
export function valueType(dtype: DType): "f32" | "i32" | "u32" | "bool" {
  switch (dtype) {
    case "f32":
    case "f16":
    case "bf16":
      return "f32";
    case "i32":
    case "i8":
      return "i32";
    case "u32":
    case "u8":
      return "u32";
    case "bool":
      return "bool";
    case "f64":
      return invariant(false, "f64 lives on the reference device only") as never;
    default:
      return dtype satisfies never;
  }
}

/** Elements in one word of memory: 1, 2 or 4. */
export function lanesOf(dtype: DType): number {
  return 4 / byteWidth(dtype);
}

/** Type of an array's element in storage: packed dtypes lie in words. */
export function storageType(dtype: DType): "f32" | "i32" | "u32" {
  return dtype === "f32" || dtype === "i32" ? dtype : "u32";
}

/** Expression of the value in the lowest bits of the word `bits`. */
export function decodeBits(dtype: DType, bits: string): string {
  switch (dtype) {
    case "f16":
      return `h_fromF16(${bits} & 0xffffu)`;
    case "bf16":
      return `h_fromBf16(${bits} & 0xffffu)`;
    case "i8":
      return `h_i8(bitcast<i32>(${bits}))`;
    case "u8":
      return `(${bits} & 0xffu)`;
    case "bool":
      return `((${bits} & 0xffu) != 0u)`;
    case "f32":
      return `bitcast<f32>(${bits})`;
    case "i32":
      return `bitcast<i32>(${bits})`;
    default:
      return bits;
  }
}

/** Expression of the bits, in the lowest part of a word, that store `value`. */
export function encodeBits(dtype: DType, value: string): string {
  switch (dtype) {
    case "f16":
      return `h_toF16(${value})`;
    case "bf16":
      return `h_toBf16(${value})`;
    case "i8":
      return `(bitcast<u32>(${value}) & 0xffu)`;
    case "u8":
      return `(${value} & 0xffu)`;
    case "bool":
      return `select(0u, 1u, ${value})`;
    case "f32":
    case "i32":
      return `bitcast<u32>(${value})`;
    default:
      return value;
  }
}

/** A number of the dtype as a WGSL expression, exact to the bit. */
export function literal(dtype: DType, value: number): string {
  const type = valueType(dtype);
  if (type === "bool") return value === 0 ? "false" : "true";
  if (type === "u32") return `${value >>> 0}u`;
  if (type === "i32") return `bitcast<i32>(${value >>> 0}u)`;
  if (Number.isNaN(value)) return "h_nan()";
  if (Math.abs(Math.fround(value)) === Number.POSITIVE_INFINITY)
    return value > 0 ? "h_infinity()" : "-h_infinity()";
  const bits = new Uint32Array(Float32Array.of(value).buffer)[0] ?? 0;
  return `bitcast<f32>(${bits}u)`;
}
