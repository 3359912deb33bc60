import { f32x4, v128 } from "@heddle/tensor/kernel";
import { fitQuads } from "./fit-quads.js";
import { eachNumber, type Quad, transposeInto, type Vector, variable } from "./quads.js";

const SIZE = 16;
/** Tables of the room: numbers, w and w x, where w is x^2. */
const [X, W, WX] = [0, 16 * SIZE, 32 * SIZE];
/** Codes are -n..n-1. */
const n = 32;

/**
 * Scale of each 16 numbers for Q6_K, four sub-blocks side by side in the lanes of a vector. Buffers: numbers, scales. Twin: `fitScale`
 * with weights x^2, to the bit.
 */
export const fitSignedScalesWasm = fitQuads({
  key: "gguf-fit-signed-scales",
  size: SIZE,
  numTables: 3,
  fit(quad, source, { targets: [scales] }) {
    transposeInto(quad, source);
    const { f } = quad;
    const greatest = weigh(quad);
    const first = products(quad, f.let(f32x4.div(-n, greatest)));
    const quotient = f32x4.div(first.xq, first.q2);
    const scale = variable(f, v128.andnot(quotient, f32x4.eq(first.q2, 0)));
    const best = variable(f, f32x4.mul(scale, first.xq));
    const k = variable(f, f32x4.splat(-9));
    f.for(0, 18, 1, () => {
      const levels = f32x4.neg(f32x4.add(n, f32x4.mul(Math.fround(0.1), k)));
      const { xq, q2 } = products(quad, f.let(f32x4.div(levels, greatest)));
      const isBetter = f.let(v128.and(f32x4.gt(q2, 0), f32x4.gt(f32x4.mul(xq, xq), f32x4.mul(best, q2))));
      f.set(scale, v128.bitselect(f32x4.div(xq, q2), scale, isBetter));
      f.set(best, v128.bitselect(f32x4.mul(scale, xq), best, isBetter));
      f.set(k, f32x4.add(k, 1));
      // The grid in the middle was the first.
      f.set(k, f32x4.add(k, v128.and(f32x4.eq(k, 0), f32x4.splat(1))));
    });
    const isZero = f32x4.lt(f32x4.abs(greatest), Math.fround(1e-15));
    if (scales !== undefined) f.store("v128", scales, v128.andnot(scale, isZero));
  },
});

/** Writes the weights; gives the first number of greatest size. */
function weigh(quad: Quad) {
  const { f } = quad;
  const greatest = variable(f, f32x4.splat(0));
  eachNumber(quad, (at, byte) => {
    const x = f.let(v128.load(at, X + byte));
    const w = f.let(f32x4.mul(x, x));
    f.store("v128", at, w, W + byte);
    f.store("v128", at, f32x4.mul(w, x), WX + byte);
    f.set(greatest, v128.bitselect(x, greatest, f32x4.gt(f32x4.abs(x), f32x4.abs(greatest))));
  });
  return greatest;
}

/** sum w x q and sum w q^2 on one grid. */
function products(quad: Quad, grid: Vector) {
  const { f } = quad;
  const [xq, q2] = [variable(f, f32x4.splat(0)), variable(f, f32x4.splat(0))];
  eachNumber(quad, (at, byte) => {
    const level = f32x4.nearest(f32x4.mul(grid, v128.load(at, X + byte)));
    const q = f.let(f32x4.max(-n, f32x4.min(n - 1, level)));
    f.set(xq, f32x4.add(xq, f32x4.mul(v128.load(at, WX + byte), q)));
    f.set(q2, f32x4.add(q2, f32x4.mul(f32x4.mul(v128.load(at, W + byte), q), q)));
  });
  return { xq, q2 };
}
