/** Element types. `f64` exists on the reference device only; `bool` is stored as one byte, 0 or 1. */
export type DType = "f64" | "f32" | "f16" | "bf16" | "i32" | "u32" | "i8" | "u8" | "bool";

export type FloatDType = "f64" | "f32" | "f16" | "bf16";

const widths = {
  f64: 8,
  f32: 4,
  f16: 2,
  bf16: 2,
  i32: 4,
  u32: 4,
  i8: 1,
  u8: 1,
  bool: 1,
} as const satisfies Record<DType, number>;

/** Every dtype, widest float first. */
export const dtypes = Object.keys(widths) as readonly DType[];

/** Bytes that one element takes in memory. */
export function byteWidth(dtype: DType): number {
  return widths[dtype];
}

/** Tells whether gradients can flow through values of this dtype. */
export function isFloat(dtype: DType): dtype is FloatDType {
  return dtype === "f64" || dtype === "f32" || dtype === "f16" || dtype === "bf16";
}

/** Tells whether a dtype is a float of 16 bits. */
export function isHalf(dtype: DType): dtype is "f16" | "bf16" {
  return dtype === "f16" || dtype === "bf16";
}

/** Rounds a number to the nearest value that the dtype can store (ties to even; integers wrap as C casts do). */
export function roundTo(dtype: DType, value: number): number {
  switch (dtype) {
    case "f64":
      return value;
    case "f32":
      return Math.fround(value);
    case "f16":
      return f16ToNumber(numberToF16(value));
    case "bf16":
      return bf16ToNumber(numberToBf16(value));
    case "i32":
      return value | 0;
    case "u32":
      return value >>> 0;
    case "i8":
      return (value << 24) >> 24;
    case "u8":
      return value & 255;
    case "bool":
      return value === 0 ? 0 : 1;
    default:
      return dtype satisfies never;
  }
}

const f32Box = new Float32Array(1);
const u32Box = new Uint32Array(f32Box.buffer);

/** Bit pattern of the nearest bfloat16 (ties to even; NaN stays NaN). */
export function numberToBf16(value: number): number {
  f32Box[0] = value;
  const bits = u32Box[0] ?? 0;
  if ((bits & 0x7fffffff) > 0x7f800000) return (bits >>> 16) | 0x40;
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}

/** Value of a bfloat16 bit pattern. */
export function bf16ToNumber(bits: number): number {
  u32Box[0] = (bits & 0xffff) << 16;
  return f32Box[0] ?? 0;
}

/**
 * Bit pattern of the nearest IEEE half (ties to even; overflow gives infinity).
 * Rounds the f32 value of the input, as a cast from f32 storage does.
 */
export function numberToF16(value: number): number {
  f32Box[0] = value;
  const bits = u32Box[0] ?? 0;
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00 | ((magnitude >>> 13) & 0x3ff);
  if (magnitude >= 0x47800000) return sign | 0x7c00;
  if (magnitude < 0x38800000) {
    // Subnormal half: adding 0.5 aligns the last half bit with the last f32 bit, so the FPU rounds for us.
    f32Box[0] = (f32Box[0] === undefined ? 0 : Math.abs(f32Box[0])) + 0.5;
    return sign | ((u32Box[0] ?? 0) - 0x3f000000);
  }
  return sign | ((magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13);
}

/** Values of all IEEE halves, filled when the first is asked for: computing each anew takes a hundred times as long. */
const halfValues = new Float32Array(65_536);

/** Value of an IEEE half bit pattern. */
export function f16ToNumber(bits: number): number {
  // The smallest positive half is not 0 once the table is there.
  if (halfValues[1] === 0)
    halfValues.set(Float32Array.from(halfValues, (_, pattern) => computedHalf(pattern)));
  return halfValues[bits & 0xffff] ?? 0;
}

function computedHalf(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >>> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
