import { f32, i32 } from "../../wasm/scalar.js";
import { f32x4, i32x4, v128 } from "../../wasm/simd.js";
import type { I32, Value } from "../../wasm/value.js";

/** Storage formats that a matrix product reads; arithmetic is f32. */
export type MatrixDType = "f32" | "f16" | "bf16";

/** Bytes of one stored element. */
export function elementBytes(dtype: MatrixDType): 2 | 4 {
  return dtype === "f32" ? 4 : 2;
}

/** Four consecutive elements as f32 lanes. */
export function loadFour(dtype: MatrixDType, address: I32, byteOffset = 0): Value<"v128"> {
  switch (dtype) {
    case "f32":
      return v128.load(address, byteOffset);
    case "bf16":
      return i32x4.shl(v128.load16x4U(address, byteOffset), 16);
    case "f16":
      return widenHalves(v128.load16x4U(address, byteOffset));
    default:
      return dtype satisfies never;
  }
}

/** One element as f32. */
export function loadOne(dtype: MatrixDType, address: I32, byteOffset = 0): Value<"f32"> {
  switch (dtype) {
    case "f32":
      return f32.load(address, byteOffset);
    case "bf16":
      return f32.reinterpretI32(i32.shl(i32.load16U(address, byteOffset), 16));
    case "f16":
      return f32x4.extract(widenHalves(i32x4.splat(i32.load16U(address, byteOffset))), 0);
    default:
      return dtype satisfies never;
  }
}

/** One element in every lane. */
export function loadSplat(dtype: MatrixDType, address: I32, byteOffset = 0): Value<"v128"> {
  return dtype === "f32" ? v128.load32Splat(address, byteOffset) : f32x4.splat(loadOne(dtype, address, byteOffset));
}

/** IEEE halves in the low 16 bits of each lane, as f32: shift into place, then let a multiplication fix the exponent. */
function widenHalves(halves: Value<"v128">): Value<"v128"> {
  const magnitude = i32x4.shl(v128.and(halves, 0x7fff), 13);
  const sign = i32x4.shl(v128.and(halves, 0x8000), 16);
  const scaled = f32x4.mul(magnitude, 2 ** 112);
  // Infinities and NaNs need the full exponent: everything from 0x7c00 up.
  const special = v128.and(i32x4.gtS(magnitude, 0x0f7fffff), 0x7f800000);
  return v128.or(v128.or(scaled, special), sign);
}
