import {
  type FunctionBuilder,
  f32x4,
  type I32,
  i16x8,
  i32,
  i32x4,
  type Local,
  type Value,
  v128,
} from "@heddle/tensor/kernel";
import { isNested, type QuantFormat } from "../quant-format.js";
import { HALF_MASK } from "./unpack-rows.wasm.js";

/** Where the scales of a group lie: address of its 16 entries, and of those of the second level. */
export interface GroupScales {
  readonly own: Local<"i32">;
  readonly above?: Local<"i32"> | undefined;
}

/** Bytes of 16 entries. */
export function entriesBytes({ scaleDType }: QuantFormat): number {
  return { f16: 32, f32: 64, u8: 16, i8: 16 }[scaleDType];
}

/** The 16 scales (or minima) of a group as four vectors of f32. */
export function scaleVectors(
  f: FunctionBuilder,
  format: QuantFormat,
  { own, above }: GroupScales,
): Local<"v128">[] {
  const stored = storedVectors(f, format, own);
  if (!isNested(format) || above === undefined) return stored.map((vector) => f.let(vector));
  return stored.map((vector, v) => f.let(f32x4.mul(f32x4.convertI32x4S(vector), v128.load(above, 16 * v))));
}

function storedVectors(
  f: FunctionBuilder,
  { scaleDType }: QuantFormat,
  address: Local<"i32">,
): Value<"v128">[] {
  const four = [0, 1, 2, 3];
  switch (scaleDType) {
    case "f32":
      return four.map((v) => v128.load(address, 16 * v));
    case "f16":
      return four.map((v) =>
        f32x4.mul(v128.and(i32x4.shl(v128.load16x4S(address, 8 * v), 13), HALF_MASK), 2 ** 112),
      );
    case "u8":
    case "i8": {
      const isSigned = scaleDType === "i8";
      const bytes = f.let(v128.load(address));
      const halves = isSigned
        ? [i16x8.extendLowI8x16S(bytes), i16x8.extendHighI8x16S(bytes)]
        : [i16x8.extendLowI8x16U(bytes), i16x8.extendHighI8x16U(bytes)];
      return halves.flatMap((half) => {
        const wide = f.let(half);
        return [i32x4.extendLowI16x8S(wide), i32x4.extendHighI16x8S(wide)];
      });
    }
    default:
      return scaleDType satisfies never;
  }
}

/** Address of an entry of 16 numbers. */
export function entryAddress(base: I32, index: I32, bytes: number): Value<"i32"> {
  return i32.add(base, i32.mul(index, bytes));
}
