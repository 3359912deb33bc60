import type { DType } from "../../dtype.js";
import type { FunctionBuilder } from "../../wasm/assembler.js";
import { i32 } from "../../wasm/scalar.js";
import { f32x4, i8x16, i16x8, i32x4, v128 } from "../../wasm/simd.js";
import type { Local, Value } from "../../wasm/value.js";

// Four elements of any dtype live in one v128 of 32-bit lanes:
// floats as f32, integers as i32 (8-bit ones sign- or zero-extended), bools as masks (all bits 0 or all 1).

/** The dtypes that kernels know; f64 exists on the reference device only. */
export type LaneDType = Exclude<DType, "f64">;
export type Lanes = Value<"v128">;

/** How many elements one pass handles: four, or one (in every lane when loaded, from lane 0 when stored). */
export type LaneWidth = 4 | 1;

const shifts = { f32: 2, i32: 2, u32: 2, f16: 1, bf16: 1, i8: 0, u8: 0, bool: 0 } as const satisfies Record<
  LaneDType,
  number
>;

/** log2 of the bytes of an element: an index shifts left by it. */
export function byteShift(dtype: LaneDType): 0 | 1 | 2 {
  return shifts[dtype];
}

export function isFloatLane(dtype: LaneDType): boolean {
  return dtype === "f32" || dtype === "f16" || dtype === "bf16";
}

/** Address of element `index` of an array. */
export function elementAddress(base: Value<"i32">, index: Value<"i32">, dtype: LaneDType): Value<"i32"> {
  return i32.add(base, byteShift(dtype) === 0 ? index : i32.shl(index, byteShift(dtype)));
}

/** Loads `width` consecutive elements and decodes them. */
export function loadLanes(
  f: FunctionBuilder,
  dtype: LaneDType,
  address: Value<"i32">,
  { width, byteOffset = 0 }: { width: LaneWidth; byteOffset?: number },
): Local<"v128"> {
  const raw = width === 4 ? loadFour(dtype, address, byteOffset) : loadSplat(dtype, address, byteOffset);
  return decode(f, dtype, f.let(raw));
}

/** Loads four elements that lie `byteStride` apart. */
export function gatherLanes(
  f: FunctionBuilder,
  dtype: LaneDType,
  address: Value<"i32">,
  byteStride: Value<"i32">,
): Local<"v128"> {
  const at = f.let(address);
  const raw = f.let(loadSplat(dtype, at, 0));
  for (const lane of [1, 2, 3]) {
    f.increase(at, byteStride);
    f.set(raw, i32x4.replace(raw, lane, loadScalar(dtype, at, 0)));
  }
  return decode(f, dtype, raw);
}

/** Encodes and stores `width` consecutive elements. */
export function storeLanes(
  f: FunctionBuilder,
  dtype: LaneDType,
  address: Value<"i32">,
  { value, width, byteOffset = 0 }: { value: Lanes; width: LaneWidth; byteOffset?: number },
): void {
  const bits = encode(f, dtype, value);
  const shift = byteShift(dtype);
  if (width === 1)
    f.storeLane(shift === 2 ? 32 : shift === 1 ? 16 : 8, address, bits, { lane: 0, byteOffset });
  else if (shift === 2) f.store("v128", address, bits, byteOffset);
  else if (shift === 1) f.storeLane(64, address, i16x8.narrowI32x4U(bits, bits), { lane: 0, byteOffset });
  else {
    const halves = f.let(i16x8.narrowI32x4U(bits, bits));
    f.storeLane(32, address, i8x16.narrowI16x8U(halves, halves), { lane: 0, byteOffset });
  }
}

function loadFour(dtype: LaneDType, address: Value<"i32">, byteOffset: number): Lanes {
  switch (dtype) {
    case "f32":
    case "i32":
    case "u32":
      return v128.load(address, byteOffset);
    case "f16":
    case "bf16":
      return v128.load16x4U(address, byteOffset);
    case "i8":
      return i32x4.extendLowI16x8S(i16x8.extendLowI8x16S(v128.load32Zero(address, byteOffset)));
    case "u8":
    case "bool":
      return i32x4.extendLowI16x8U(i16x8.extendLowI8x16U(v128.load32Zero(address, byteOffset)));
    default:
      return dtype satisfies never;
  }
}

function loadScalar(dtype: LaneDType, address: Value<"i32">, byteOffset: number): Value<"i32"> {
  if (byteShift(dtype) === 2) return i32.load(address, byteOffset);
  if (byteShift(dtype) === 1) return i32.load16U(address, byteOffset);
  return dtype === "i8" ? i32.load8S(address, byteOffset) : i32.load8U(address, byteOffset);
}

function loadSplat(dtype: LaneDType, address: Value<"i32">, byteOffset: number): Lanes {
  if (byteShift(dtype) === 2) return v128.load32Splat(address, byteOffset);
  return i32x4.splat(loadScalar(dtype, address, byteOffset));
}

/** Storage bits in each lane to the lane's value. */
function decode(f: FunctionBuilder, dtype: LaneDType, bits: Local<"v128">): Local<"v128"> {
  if (dtype === "f16") return decodeHalf(f, bits);
  if (dtype === "bf16") return f.let(i32x4.shl(bits, 16));
  if (dtype === "bool") return f.let(i32x4.ne(bits, 0));
  return bits;
}

/** The lane's value to storage bits (zero-extended where the element is narrower than the lane). */
function encode(f: FunctionBuilder, dtype: LaneDType, value: Lanes): Local<"v128"> {
  if (dtype === "f16") return encodeHalf(f, f.let(value));
  if (dtype === "bf16") return encodeBrain(f, f.let(value));
  if (dtype === "bool") return f.let(v128.and(value, 1));
  if (dtype === "i8" || dtype === "u8") return f.let(v128.and(value, 255));
  return f.let(value);
}

/** The bits with sign, exponent and mantissa in f32's places, times the difference of the two biases: exact for subnormals, too. */
function decodeHalf(f: FunctionBuilder, bits: Local<"v128">): Local<"v128"> {
  const placed = v128.and(i32x4.shrS(i32x4.shl(bits, 16), 3), 0x8fff_e000 | 0);
  const value = f.let(f32x4.mul(placed, 2 ** 112));
  const isSpecial = f32x4.ge(f32x4.abs(value), 65536); // of infinities and NaNs only
  return f.let(v128.or(value, v128.and(isSpecial, 0x7f80_0000)));
}

/** Nearest half, ties to even; twin: `numberToF16` in dtype.ts. */
function encodeHalf(f: FunctionBuilder, bits: Local<"v128">): Local<"v128"> {
  const magnitude = f.let(v128.and(bits, 0x7fffffff));
  const tie = v128.and(i32x4.shrU(magnitude, 13), 1);
  const normal = i32x4.shrU(i32x4.add(i32x4.add(magnitude, tie), 0xfff - 0x38000000), 13);
  const subnormal = i32x4.sub(f32x4.add(f32x4.min(magnitude, 1), 0.5), 0x3f000000);
  const finite = v128.bitselect(subnormal, normal, i32x4.ltS(magnitude, 0x38800000));
  const limited = v128.bitselect(i32x4.splat(0x7c00), finite, i32x4.geS(magnitude, 0x47800000));
  const payload = v128.or(v128.and(i32x4.shrU(magnitude, 13), 0x3ff), 0x7e00);
  const value = v128.bitselect(payload, limited, i32x4.gtS(magnitude, 0x7f800000));
  return f.let(v128.or(value, v128.and(i32x4.shrU(bits, 16), 0x8000)));
}

/** Nearest bfloat16, ties to even, NaN stays NaN; twin: `numberToBf16` in dtype.ts. */
function encodeBrain(f: FunctionBuilder, bits: Local<"v128">): Local<"v128"> {
  const tie = v128.and(i32x4.shrU(bits, 16), 1);
  const rounded = i32x4.shrU(i32x4.add(i32x4.add(bits, 0x7fff), tie), 16);
  const quiet = v128.or(i32x4.shrU(bits, 16), 0x40);
  return f.let(v128.bitselect(rounded, quiet, f32x4.eq(bits, bits)));
}

/** Rounds f32 lanes to what a float dtype can store. */
export function roundLanes(f: FunctionBuilder, dtype: LaneDType, value: Lanes): Local<"v128"> {
  if (dtype !== "f16" && dtype !== "bf16") return f.let(value);
  return decode(f, dtype, encode(f, dtype, value));
}

/** Wraps integer lanes to the range of an 8-bit dtype. */
export function wrapLanes(f: FunctionBuilder, dtype: LaneDType, value: Lanes): Local<"v128"> {
  if (dtype === "i8") return f.let(i32x4.shrS(i32x4.shl(value, 24), 24));
  return f.let(dtype === "u8" ? v128.and(value, 255) : value);
}

/**
 * Casts lanes: floats to integers truncate (i32 and u32 saturate, NaN gives 0; negative floats wrap into u32; narrower ones
 * then wrap), integers wrap, anything but 0 is true.
 */
export function castLanes(
  f: FunctionBuilder,
  value: Local<"v128">,
  { from, to }: { from: LaneDType; to: LaneDType },
): Local<"v128"> {
  if (from === to) return value;
  if (to === "bool") return f.let(isFloatLane(from) ? f32x4.ne(value, 0) : i32x4.ne(value, 0));
  if (isFloatLane(to)) return roundLanes(f, to, toFloatLanes(value, from));
  if (isFloatLane(from))
    return wrapLanes(f, to, to === "u32" ? truncateToU32(value) : i32x4.truncSatF32x4S(value));
  return wrapLanes(f, to, from === "bool" ? v128.and(value, 1) : value);
}

function toFloatLanes(value: Lanes, from: LaneDType): Lanes {
  if (from === "bool") return v128.and(value, f32x4.splat(1));
  if (isFloatLane(from)) return value;
  return from === "u32" ? f32x4.convertI32x4U(value) : f32x4.convertI32x4S(value);
}

function truncateToU32(value: Lanes): Lanes {
  return v128.bitselect(i32x4.truncSatF32x4S(value), i32x4.truncSatF32x4U(value), f32x4.lt(value, 0));
}
