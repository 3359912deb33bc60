import type { FunctionBuilder } from "../assembler.js";
import { f32x4, f64x2, i32x4, i64x2, v128 } from "../simd.js";
import type { Local, Value } from "../value.js";

type Lanes = Value<"v128">;

const signBit = 0x80000000 | 0;

/** x^y through float64, two lanes at a time: 2^(y log2 |x|), then the special cases of C's `pow`. */
export function lanePower(f: FunctionBuilder, xLanes: Lanes, yLanes: Lanes): Local<"v128"> {
  const [x, y] = [f.let(xLanes), f.let(yLanes)];
  const magnitude = f.let(f32x4.abs(x));
  const upper = (v: Lanes) => i32x4.shuffle(v, v, [2, 3, 2, 3]);
  const low = power64(f, f64x2.promoteLowF32x4(magnitude), f64x2.promoteLowF32x4(y));
  const high = power64(f, f64x2.promoteLowF32x4(upper(magnitude)), f64x2.promoteLowF32x4(upper(y)));
  const result = i64x2.shuffle(f32x4.demoteF64x2Zero(low), f32x4.demoteF64x2Zero(high), [0, 2]);

  const isInteger = f.let(f32x4.eq(f32x4.trunc(y), y)); // also of infinities
  const half = f.let(f32x4.mul(y, 0.5));
  const isOdd = v128.andnot(
    v128.and(isInteger, f32x4.lt(f32x4.abs(y), Infinity)),
    f32x4.eq(f32x4.trunc(half), half),
  );
  const signed = f.let(v128.xor(result, v128.and(v128.and(x, signBit), isOdd)));
  const isImaginary = v128.andnot(v128.and(f32x4.lt(x, 0), f32x4.gt(x, -Infinity)), isInteger);
  const isUndefined = v128.or(isImaginary, v128.or(f32x4.ne(x, x), f32x4.ne(y, y)));
  const isOne = v128.or(
    v128.or(f32x4.eq(y, 0), f32x4.eq(x, 1)),
    v128.and(f32x4.eq(magnitude, 1), f32x4.eq(f32x4.abs(y), Infinity)),
  );
  return f.let(v128.bitselect(f32x4.splat(1), v128.or(signed, isUndefined), isOne));
}

/** x^y for x >= 0 in two f64 lanes, to about 1e-11; infinities by saturation. */
function power64(f: FunctionBuilder, x: Lanes, y: Lanes): Local<"v128"> {
  const { add, sub, mul, div } = f64x2;
  const horner = (t: Lanes, coefficients: readonly number[]) =>
    coefficients.reduce<Lanes>((sum, c) => add(mul(sum, t), c), f64x2.splat(0));
  const input = f.let(x);
  const exponent = f.let(i64x2.shrS(i64x2.sub(input, i64x2.splat(0x3fe6a09e667f3bcdn)), 52));
  const m = f.let(i64x2.sub(input, i64x2.shl(exponent, 52))); // in [sqrt(1/2), sqrt(2))
  const s = f.let(div(sub(m, 1), add(m, 1)));
  const magic = 6755399441055744; // 1.5 * 2^52
  const n = sub(i64x2.add(exponent, f64x2.splat(magic)), magic);
  const atanh = mul(s, horner(f.let(mul(s, s)), atanhCoefficients));
  const finiteLog = f.let(add(n, atanh));
  const log = v128.bitselect(
    f64x2.splat(-1e60),
    v128.bitselect(f64x2.splat(1e60), finiteLog, f64x2.eq(input, Infinity)),
    f64x2.eq(input, 0),
  );
  const t = f.let(f64x2.min(f64x2.max(mul(y, log), -200), 200));
  const rounded = f.let(add(t, magic));
  const r = f.let(sub(t, sub(rounded, magic)));
  const scale = i64x2.shl(i64x2.add(rounded, 1023), 52);
  return f.let(mul(horner(r, exp2Coefficients), scale));
}

/** log2((1 + s) / (1 - s)) / s in powers of s^2, highest first. */
const atanhCoefficients = Array.from({ length: 9 }, (_, k) => (2 * Math.LOG2E) / (17 - 2 * k));
/** 2^r in powers of r, highest first: (ln 2)^k / k!. */
const exp2Coefficients = Array.from({ length: 11 }, (_, i) => {
  let term = 1;
  for (let k = 1; k <= 10 - i; k++) term *= Math.LN2 / k;
  return term;
});
