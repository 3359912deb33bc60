import { type FunctionBuilder, i8x16, i16x8, i32x4, type Local, type Value } from "@heddle/tensor/kernel";

/**
 * Sums of neighbouring products of signed bytes and 7-bit numbers: y[i] = a[2i] b[2i] + a[2i+1] b[2i+1], 8 x i16.
 *
 * With b in 0..127 the relaxed instruction has one result on every machine, that of the exact form: no sum leaves 16 bits.
 * @param hasRelaxed  whether the engine has the instruction
 */
export function dotPairs(
  f: FunctionBuilder,
  hasRelaxed: boolean,
  [a, b]: readonly [a: Value<"v128">, b: Value<"v128">],
): Value<"v128"> {
  if (hasRelaxed) return i16x8.relaxedDotI8x16I7x16S(a, b);
  const [x, y] = [f.let(a), f.let(b)];
  const low = f.let(i16x8.extmulLowI8x16S(x, y));
  const high = f.let(i16x8.extmulHighI8x16S(x, y));
  const pick = (from: number) =>
    i8x16.shuffle(
      low,
      high,
      Array.from({ length: 16 }, (_, i) => 4 * (i >> 1) + from + (i & 1)),
    );
  return i16x8.add(pick(0), pick(2));
}

/** Sums of neighbouring 16-bit numbers: 4 x i32. */
export function widenPairs(sums: Value<"v128"> | Local<"v128">): Value<"v128"> {
  return i32x4.dotI16x8S(sums, 0x0001_0001);
}

/**
 * sum + dot products of quads of neighbouring signed bytes and 7-bit numbers, 4 x i32; needs relaxed SIMD. With b in 0..127 it has
 * one result on every machine, too: pairs fit 16 bits, should the engine add them there.
 */
export function addQuads(
  [a, b]: readonly [a: Value<"v128">, b: Value<"v128">],
  sum: Value<"v128"> | 0,
): Value<"v128"> {
  return i32x4.relaxedDotI8x16I7x16AddS(a, b, sum);
}
