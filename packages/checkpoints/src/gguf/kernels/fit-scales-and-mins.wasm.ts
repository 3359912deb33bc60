import { type FunctionBuilder, f32x4, type Local, v128 } from "@heddle/tensor/kernel";
import { fitQuads } from "./fit-quads.js";
import { eachNumber, type Quad, transposeInto, type Vector, variable } from "./quads.js";

type I32 = Local<"i32">;

const SIZE = 32;
/** Tables of the room: numbers, weights, codes. */
const [X, W, Q] = [0, 16 * SIZE, 32 * SIZE];
const mostCode = 15;

/**
 * Scale and minimum of each 32 numbers for Q4_K, four sub-blocks side by side in the lanes of a vector, so that each lane adds up in the
 * order of the twin. Buffers: numbers, scales, minima. Twin: `fitPart`, to the bit.
 */
export const fitScalesAndMinsWasm = fitQuads({
  key: "gguf-fit-scales-and-mins",
  size: SIZE,
  numTables: 3,
  fit(quad, source, { targets: [scales, mins] }) {
    transposeInto(quad, source);
    const { f } = quad;
    const { low, high, sums } = weigh(quad);
    const best = { scale: f.local("v128"), min: variable(f, low), error: f.local("v128") };
    const first = f.let(f32x4.div(mostCode, f32x4.sub(high, low)));
    roundToGrid(quad, first, low);
    f.set(best.scale, f32x4.div(1, first));
    f.set(best.error, squaredError(quad, best.scale, low));
    const step = variable(f, f32x4.splat(0));
    f.for(0, 21, 1, () => {
      const levels = f32x4.add(f32x4.add(-1, f32x4.mul(Math.fround(0.1), step)), mostCode);
      tryGrid(quad, f.let(f32x4.div(levels, f32x4.sub(high, best.min))), { sums, best });
      f.set(step, f32x4.add(step, 1));
    });
    const isFlat = f.let(f32x4.eq(high, low));
    store(f, scales, v128.andnot(best.scale, isFlat));
    store(f, mins, f32x4.neg(v128.bitselect(low, best.min, isFlat)));
  },
});

function store(f: FunctionBuilder, target: I32 | undefined, value: Vector): void {
  if (target !== undefined) f.store("v128", target, value);
}

/** Writes the weights rms(x) + |x|; gives extremes and sums. */
function weigh(quad: Quad) {
  const { f } = quad;
  const low = variable(f, f32x4.splat(0));
  const high = variable(f, f32x4.splat(Number.NEGATIVE_INFINITY));
  const squares = variable(f, f32x4.splat(0));
  eachNumber(quad, (at, byte) => {
    const x = f.let(v128.load(at, X + byte));
    f.set(low, f32x4.min(low, x));
    f.set(high, f32x4.max(high, x));
    f.set(squares, f32x4.add(squares, f32x4.mul(x, x)));
  });
  const rms = variable(f, f32x4.sqrt(f32x4.div(squares, SIZE)));
  const sums = { w: variable(f, f32x4.splat(0)), wx: variable(f, f32x4.splat(0)) };
  eachNumber(quad, (at, byte) => {
    const x = f.let(v128.load(at, X + byte));
    const w = f.let(f32x4.add(rms, f32x4.abs(x)));
    f.store("v128", at, w, W + byte);
    f.set(sums.w, f32x4.add(sums.w, w));
    f.set(sums.wx, f32x4.add(sums.wx, f32x4.mul(w, x)));
  });
  return { low, high, sums };
}

interface Candidates {
  readonly sums: { readonly w: Vector; readonly wx: Vector };
  readonly best: Readonly<Record<"scale" | "min" | "error", Local<"v128">>>;
}

/** Rounds to one grid, solves for scale and minimum, and keeps them in the lanes in which the error is the least so far. */
function tryGrid(quad: Quad, grid: Vector, { sums, best }: Candidates): void {
  const { f } = quad;
  const of = {
    q: variable(f, f32x4.splat(0)),
    q2: variable(f, f32x4.splat(0)),
    xq: variable(f, f32x4.splat(0)),
  };
  roundToGrid(quad, grid, best.min, (at, byte, q) => {
    const wq = f.let(f32x4.mul(v128.load(at, W + byte), q));
    f.set(of.q, f32x4.add(of.q, wq));
    f.set(of.q2, f32x4.add(of.q2, f32x4.mul(wq, q)));
    f.set(of.xq, f32x4.add(of.xq, f32x4.mul(wq, v128.load(at, X + byte))));
  });
  const determinant = f.let(f32x4.sub(f32x4.mul(sums.w, of.q2), f32x4.mul(of.q, of.q)));
  const solve = (a: Vector, b: Vector) => f.let(f32x4.div(f32x4.sub(a, b), determinant));
  const slope = solve(f32x4.mul(sums.w, of.xq), f32x4.mul(sums.wx, of.q));
  const offset = solve(f32x4.mul(of.q2, sums.wx), f32x4.mul(of.q, of.xq));
  const isAbove = f.let(f32x4.gt(offset, 0));
  const scale = variable(f, v128.bitselect(f32x4.div(of.xq, of.q2), slope, isAbove));
  const min = variable(f, v128.andnot(offset, isAbove));
  const error = f.let(squaredError(quad, scale, min));
  const isBetter = f.let(v128.and(f32x4.gt(determinant, 0), f32x4.lt(error, best.error)));
  for (const [kept, value] of [
    [best.scale, scale],
    [best.min, min],
    [best.error, error],
  ] as const) {
    f.set(kept, v128.bitselect(value, kept, isBetter));
  }
}

/** Writes the codes of a grid. */
function roundToGrid(
  quad: Quad,
  grid: Vector,
  low: Vector,
  also?: (at: I32, byte: number, q: Vector) => void,
): void {
  const { f } = quad;
  eachNumber(quad, (at, byte) => {
    const level = f32x4.nearest(f32x4.mul(grid, f32x4.sub(v128.load(at, X + byte), low)));
    const q = f.let(f32x4.max(0, f32x4.min(mostCode, level)));
    f.store("v128", at, q, Q + byte);
    also?.(at, byte, q);
  });
}

/** Sum of w (scale q + min - x)^2 over the codes of the room. */
function squaredError(quad: Quad, scale: Vector, min: Vector): Local<"v128"> {
  const { f } = quad;
  const error = variable(f, f32x4.splat(0));
  eachNumber(quad, (at, byte) => {
    const value = f32x4.add(f32x4.mul(scale, v128.load(at, Q + byte)), min);
    const difference = f.let(f32x4.sub(value, v128.load(at, X + byte)));
    const weighted = f32x4.mul(v128.load(at, W + byte), f32x4.mul(difference, difference));
    f.set(error, f32x4.add(error, weighted));
  });
  return error;
}
