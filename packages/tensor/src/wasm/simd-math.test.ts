import { describe, expect, test } from "vitest";
import { assemble } from "./assembler.js";
import { i32 } from "./scalar.js";
import { v128 } from "./simd.js";
import { type LaneMath, laneMath } from "./simd-math.js";

type Lane = Exclude<keyof LaneMath, "madd">;

/** Runs a function of one or two arguments over arrays (in place of the first). */
function evaluator(name: Lane, relaxedSimd: boolean) {
  const memory = new WebAssembly.Memory({ initial: 40 });
  const bytes = assemble({ sharedMemory: false }, (f) => {
    const [count, second] = [f.param("i32"), f.param("i32")];
    const math = laneMath(f, { relaxedSimd });
    f.for(0, i32.shl(count, 2), 16, (p) => {
      const x = v128.load(p);
      f.store("v128", p, name === "pow" ? math.pow(x, v128.load(i32.add(p, second))) : math[name](x));
    });
  });
  const { run } = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory } }).exports;
  if (typeof run !== "function") throw new Error("no run");
  const floats = new Float32Array(memory.buffer);
  return (x: Float32Array, y?: Float32Array): Float32Array => {
    floats.set(x);
    if (y) floats.set(y, x.length);
    run(x.length, x.length * 4);
    return floats.slice(0, x.length);
  };
}

/** erf in float64: Taylor series near 0, continued fraction of erfc beyond. */
function erf(x: number): number {
  const t = Math.abs(x);
  if (Number.isNaN(x)) return x;
  if (t > 6) return Math.sign(x);
  if (t < 2.5) {
    let term = x;
    let sum = x;
    for (let n = 1; Math.abs(term) > 1e-18 * Math.abs(sum); n++) {
      term *= (-x * x) / n;
      sum += term / (2 * n + 1);
    }
    return (2 / Math.sqrt(Math.PI)) * sum;
  }
  let fraction = 0;
  for (let n = 60; n > 0; n--) fraction = n / 2 / (t + fraction);
  return Math.sign(x) * (1 - Math.exp(-t * t) / Math.sqrt(Math.PI) / (t + fraction));
}

const twins: Record<Exclude<Lane, "pow">, (x: number) => number> = {
  exp: Math.exp,
  expNonPositive: (x) => (x < -87.3 ? 0 : Math.exp(x)),
  log: Math.log,
  tanh: Math.tanh,
  sigmoid: (x) => 1 / (1 + Math.exp(-x)),
  erf,
  sin: Math.sin,
  cos: Math.cos,
  rsqrt: (x) => 1 / Math.sqrt(x),
};

/** Every 2^k-th f32 bit pattern of both signs: all exponents, denormals, infinities, NaNs. */
function allFloats(stride: number): Float32Array {
  const bits = new Uint32Array(Math.floor(2 ** 32 / stride));
  for (let i = 0; i < bits.length; i++) bits[i] = i * stride;
  return new Float32Array(bits.buffer);
}

/** Evenly spaced points. */
function between(low: number, high: number, count: number): Float32Array {
  return Float32Array.from({ length: count }, (_, i) => low + ((high - low) * i) / (count - 1));
}

/** Distance in units of the last place of the expected f32 (of the smallest denormal at least). */
function ulpError(actual: number, expected: number): number {
  const rounded = Math.fround(expected);
  if (Object.is(actual, rounded) || actual === rounded) return 0;
  if (!Number.isFinite(actual) || !Number.isFinite(rounded)) {
    // Next to the overflow threshold either side is right.
    const nearLimit = Math.abs(expected) > 3.402e38 && Math.abs(actual) > 3.402e38 && actual * expected > 0;
    return (Number.isNaN(actual) && Number.isNaN(rounded)) || nearLimit ? 0 : Number.POSITIVE_INFINITY;
  }
  const exponent = Math.max(-126, Math.floor(Math.log2(Math.abs(expected))));
  return Math.abs(actual - expected) / 2 ** (exponent - 23);
}

function worstUlp(actual: Float32Array, expected: (i: number) => number): { ulp: number; index: number } {
  let worst = { ulp: 0, index: -1 };
  for (let i = 0; i < actual.length; i++) {
    const ulp = ulpError(actual[i] ?? Number.NaN, expected(i));
    if (ulp > worst.ulp) worst = { ulp, index: i };
  }
  return worst;
}

/** Bounds in ulp, and the ranges in which functions are looked at densely besides all exponents. */
const bounds: Record<Exclude<Lane, "pow">, { ulp: number; dense: [number, number] }> = {
  exp: { ulp: 1.1, dense: [-104, 89] },
  expNonPositive: { ulp: 1.1, dense: [-90, 0] },
  log: { ulp: 1, dense: [0, 4] },
  tanh: { ulp: 1.5, dense: [-10, 10] },
  sigmoid: { ulp: 2.5, dense: [-87, 20] },
  erf: { ulp: 1.2, dense: [-4.5, 4.5] },
  sin: { ulp: 1.7, dense: [-1e5, 1e5] },
  cos: { ulp: 1.7, dense: [-1e5, 1e5] },
  rsqrt: { ulp: 1.6, dense: [0, 4] },
};

describe.each([{ relaxedSimd: false }, { relaxedSimd: true }])(
  "laneMath, relaxed SIMD $relaxedSimd",
  ({ relaxedSimd }) => {
    test.each(Object.entries(bounds))("%s stays within its bound", (name, { ulp, dense }) => {
      const lane = name as keyof typeof bounds;
      const run = evaluator(lane, relaxedSimd);
      const everywhere = allFloats(8192).filter((x) => inDomain(lane, x));
      for (const points of [everywhere.slice(0, everywhere.length & ~3), between(...dense, 400_000)]) {
        const worst = worstUlp(run(points), (i) => twins[lane](points[i] ?? 0));
        if (process.env.SHOW_ULP) console.log(name, relaxedSimd, worst.ulp.toFixed(2), points[worst.index]);
        expect(worst.ulp, `at ${points[worst.index]}`).toBeLessThan(ulp);
      }
    });

    test("pow stays within its bound", () => {
      const run = evaluator("pow", relaxedSimd);
      const x = allFloats(65536).filter((value) => value >= 0);
      const length = x.length & ~3;
      for (const exponent of [2, 0.5, -0.5, 3, 1 / 3, -1, 10, 0.001, 100]) {
        const result = run(x.slice(0, length), new Float32Array(length).fill(exponent));
        const worst = worstUlp(result, (i) => (x[i] ?? 0) ** Math.fround(exponent));
        expect(worst.ulp, `${x[worst.index]} ** ${exponent}`).toBeLessThan(0.501);
      }
    });

    test("pow agrees with C on special values", () => {
      const run = evaluator("pow", relaxedSimd);
      const specials = [
        0,
        -0,
        1,
        -1,
        2,
        -2,
        0.5,
        -0.5,
        3,
        -3,
        1e-40,
        -1e-40,
        Infinity,
        -Infinity,
        Number.NaN,
        16777217,
      ];
      for (const exponent of specials) {
        const result = run(Float32Array.from(specials), new Float32Array(16).fill(exponent));
        specials.forEach((x, i) => {
          const base = Math.fround(x);
          const expected =
            base === 1 || (base === -1 && Math.abs(exponent) === Infinity)
              ? 1
              : base ** Math.fround(exponent);
          expect(result[i], `${base} ** ${exponent}`).toEqual(Math.fround(expected));
        });
      }
    });

    test("edges are exact", () => {
      const at = (name: Lane, x: number) => evaluator(name, relaxedSimd)(new Float32Array(4).fill(x))[0];
      expect(at("exp", -Infinity)).toBe(0);
      expect(at("exp", Infinity)).toBe(Infinity);
      expect(at("exp", 0)).toBe(1);
      expect(at("expNonPositive", -Infinity)).toBe(0);
      expect(at("expNonPositive", 0)).toBe(1);
      expect(at("log", 0)).toBe(-Infinity);
      expect(at("log", 1)).toBe(0);
      expect(at("log", -1)).toBeNaN();
      expect(at("tanh", -Infinity)).toBe(-1);
      expect(at("tanh", -0)).toBe(-0);
      expect(at("sigmoid", Infinity)).toBe(1);
      expect(at("sigmoid", 0)).toBe(0.5);
      expect(at("erf", Infinity)).toBe(1);
      expect(at("sin", Infinity)).toBeNaN();
      expect(at("cos", 0)).toBe(1);
      expect(Math.abs(at("sin", 3e38) ?? 2)).toBeLessThanOrEqual(1);
      for (const name of Object.keys(twins)) expect(at(name as Lane, Number.NaN), name).toBeNaN();
    });
  },
);

function inDomain(name: keyof typeof bounds, x: number): boolean {
  if (name === "sin" || name === "cos") return Math.abs(x) <= 1e7;
  if (name === "expNonPositive") return x <= 0;
  if (name === "sigmoid") return !(x < -87); // flushes there
  return true;
}
