import { f32, i8x16, i32, type Local, type Value, v128 } from "@heddle/tensor/kernel";
import type { PackJob } from "./pack-codes.js";
import { HALF_MASK } from "./unpack-rows.wasm.js";

type Vector = Value<"v128">;
type Target = Local<"i32"> | undefined;

/** Rows of a panel. */
export const rows = Array.from({ length: 16 }, (_, row) => row);

/** Address of row `row` of the block. */
export function rowAt({ f, source, rowBytes }: PackJob, row: number): Local<"i32"> {
  return f.let(i32.add(source, i32.mul(rowBytes, row)));
}

/** The low, or the high, halves of sixteen bytes. */
export const lowHalf = (x: Vector) => v128.and(x, i8x16.splat(15));
export const highHalf = (x: Vector) => i8x16.shrU(x, 4);

/** The low halves of 32 bytes, given as two vectors: element i beside i + 16. */
export const lowHalves = (a: Vector, b: Vector) => v128.or(lowHalf(a), i8x16.shl(b, 4));
export const highHalves = (a: Vector, b: Vector) => v128.or(highHalf(a), v128.and(b, i8x16.splat(0xf0)));

/** Bits `shift`.. of 32 bytes at `byte`, `count` of them: element i in the low half of a byte, i + 16 in the high half. */
export function bitsBeside(
  at: Local<"i32">,
  { byte, shift, count }: { readonly byte: number; readonly shift: number; readonly count: number },
): Vector {
  const bits = (from: number) =>
    v128.and(i8x16.shrU(v128.load(at, from), shift), i8x16.splat((1 << count) - 1));
  return v128.or(bits(byte), i8x16.shl(bits(byte + 16), 4));
}

/** Copies a half float of a row to its entry of the only group. */
export function copyHalf(
  job: PackJob,
  target: Target,
  { row, from }: { readonly row: number; readonly from: number },
): void {
  if (target !== undefined) job.f.store("i16", target, i32.load16U(rowAt(job, row), from), 2 * row);
}

/** Writes four neighbouring bytes to a row's entries of four groups. */
export function storeSpread(
  { f }: PackJob,
  target: Target,
  { row, group, bytes }: { readonly row: number; readonly group: number; readonly bytes: Value<"i32"> },
): void {
  if (target === undefined) return;
  const four = f.let(bytes);
  for (let i = 0; i < 4; i++) f.store("i8", target, i32.shrU(four, 8 * i), 16 * (group + i) + row);
}

/** Writes a row's entry of 32 bits. */
export function storeFloat(
  { f }: PackJob,
  target: Target,
  { row, value }: { readonly row: number; readonly value: Value<"f32"> },
): void {
  if (target !== undefined) f.store("f32", target, value, 4 * row);
}

/** A half float as f32, exact but for NaN and infinity. */
export function widenHalf({ f }: PackJob, at: Local<"i32">, byte: number): Value<"f32"> {
  const bits = f.let(i32.load16S(at, byte));
  return f32.mul(f32.reinterpretI32(i32.and(i32.shl(bits, 13), HALF_MASK)), 2 ** 112);
}
