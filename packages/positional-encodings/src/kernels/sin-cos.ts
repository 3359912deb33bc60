import { type F64, type FunctionBuilder, f32x4, f64x2, i64x2, type Local, v128 } from "@heddle/tensor/kernel";

// Adding 1.5 * 2^52 leaves the nearest integer in the low bits of a float64.
const roundingMagic = 1.5 * 2 ** 52;
// pi/2 in two parts; the first has 33 significant bits, so that n * high is exact for |n| < 2^20.
const halfPiHigh = 1.5707963267341256;
const halfPiLow = 6.077100506506192e-11;
// Taylor coefficients on |r| <= pi/4: the last terms left out are below 2e-9 (sin) and 2e-10 (cos).
const sinCoefficients = [1 / 362880, -1 / 5040, 1 / 120, -1 / 6, 1];
const cosCoefficients = [-1 / 3628800, 1 / 40320, -1 / 720, 1 / 24, -1 / 2, 1];
const signBit = (lanes: Local<"v128">) =>
  i64x2.shl(v128.and(lanes, v128.const(new BigInt64Array([2n, 2n]))), 62);

/**
 * Emits cos and sin of two float64 angles `position * frequency`, each times `scale`, as float32 in lanes 0 and 1.
 *
 * Range reduction is done in float64, so positions of millions keep full float32 accuracy.
 */
export function emitSinCos(
  f: FunctionBuilder,
  position: F64,
  { frequencies, scale }: { frequencies: readonly [number, number]; scale: number },
): { cos: Local<"v128">; sin: Local<"v128"> } {
  const angle = f.let(f64x2.mul(f64x2.splat(position), v128.const(new Float64Array(frequencies))));
  const shifted = f.let(f64x2.add(f64x2.mul(angle, 2 / Math.PI), roundingMagic));
  const turns = f.let(f64x2.sub(shifted, roundingMagic));
  const rest = f.let(f64x2.sub(f64x2.sub(angle, f64x2.mul(turns, halfPiHigh)), f64x2.mul(turns, halfPiLow)));
  const square = f.let(f64x2.mul(rest, rest));
  const sinOfRest = f.let(f64x2.mul(polynomial(f, square, sinCoefficients), rest));
  const cosOfRest = polynomial(f, square, cosCoefficients);
  const isOdd = f.let(i64x2.sub(0, v128.and(shifted, v128.const(new BigInt64Array([1n, 1n])))));
  const next = f.let(i64x2.add(shifted, v128.const(new BigInt64Array([1n, 1n]))));
  const sin = v128.xor(v128.bitselect(cosOfRest, sinOfRest, isOdd), signBit(shifted));
  const cos = v128.xor(v128.bitselect(sinOfRest, cosOfRest, isOdd), signBit(next));
  return {
    cos: f.let(f32x4.demoteF64x2Zero(f64x2.mul(cos, scale))),
    sin: f.let(f32x4.demoteF64x2Zero(f64x2.mul(sin, scale))),
  };
}

/** Horner's rule, highest power first. */
function polynomial(f: FunctionBuilder, x: Local<"v128">, coefficients: readonly number[]): Local<"v128"> {
  const [first = 0, ...others] = coefficients;
  const sum = f.let(f64x2.splat(first));
  for (const coefficient of others) f.set(sum, f64x2.add(f64x2.mul(sum, x), coefficient));
  return sum;
}
