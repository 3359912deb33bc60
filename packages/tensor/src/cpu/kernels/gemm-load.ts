import type { FunctionBuilder } from "../../wasm/assembler.js";
import { f32x4, i32x4, v128 } from "../../wasm/simd.js";
import type { Local, Value } from "../../wasm/value.js";
import { loadLanes } from "./lanes.js";

/** Storage formats that a matrix product reads; arithmetic is f32. */
export type MatrixDType = "f32" | "f16" | "bf16";

/** Bytes of one stored element. */
export function elementBytes(dtype: MatrixDType): 2 | 4 {
  return dtype === "f32" ? 4 : 2;
}

/** Four consecutive elements as f32 lanes. */
export function loadFour(
  f: FunctionBuilder,
  dtype: MatrixDType,
  address: Value<"i32">,
  byteOffset = 0,
): Local<"v128"> {
  return loadLanes(f, dtype, address, { width: 4, byteOffset });
}

/** Four consecutive halves as f32 lanes, in half the instructions; an infinity or a NaN becomes a number of at least 2^16 in size. */
export function loadFiniteHalves(
  f: FunctionBuilder,
  address: Value<"i32">,
  byteOffset: number,
): Local<"v128"> {
  const placed = v128.and(i32x4.shl(v128.load16x4S(address, byteOffset), 13), 0x8fff_e000 | 0);
  return f.let(f32x4.mul(placed, 2 ** 112));
}

/** One element in every lane. */
export function loadSplat(
  f: FunctionBuilder,
  dtype: MatrixDType,
  address: Value<"i32">,
  byteOffset = 0,
): Local<"v128"> {
  return loadLanes(f, dtype, address, { width: 1, byteOffset });
}

/** One element as f32. */
export function loadOne(
  f: FunctionBuilder,
  dtype: MatrixDType,
  address: Value<"i32">,
  byteOffset = 0,
): Value<"f32"> {
  return f32x4.extract(loadSplat(f, dtype, address, byteOffset), 0);
}
