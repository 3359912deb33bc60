import { roundHalfEven } from "../half.js";

const f32 = Math.fround;
const maxCode = 15;
const steps = 20;

/** x is about scale q - min with q in 0..15 and min >= 0. `codes` are those q. */
export interface ScaleAndMin {
  readonly scale: number;
  readonly min: number;
  readonly codes: Uint8Array;
}

/**
 * Finds scale and minimum of one sub-block: minimises sum_i w_i (scale q_i - min - x_i)^2 over 21 rounding grids, each
 * from (15 - 1)/range to (15 + 1)/range, where the best scale and minimum for the q's are solved for. All in f32.
 *
 * @see ggml, `make_qkx2_quants` as Q4_K calls it (rmin -1, rdelta 0.1, nstep 20)
 */
export function fitScaleAndMin(x: Float32Array, weights: Float32Array): ScaleAndMin {
  const low = x.reduce((least, value) => Math.min(least, value), 0);
  const high = x.reduce((most, value) => Math.max(most, value), Number.NEGATIVE_INFINITY);
  const range = f32(high - low);
  if (high === low) return { scale: 0, min: -low, codes: new Uint8Array(x.length) };
  const sums = weightedSums(x, weights);
  const grid = f32(maxCode / range);
  const codes = roundToGrid(x, grid, low);
  const scale = f32(1 / grid);
  let best = { codes, scale, min: low, error: squaredError({ x, weights, codes }, scale, low) };
  for (let step = 0; step <= steps; step++) {
    // -1 + 0.1 step + 15 in f32
    const levels = f32(f32(-1 + f32(f32(0.1) * step)) + maxCode);
    // As the reference does, each grid begins at the best minimum so far.
    const codes = roundToGrid(x, f32(levels / f32(high - best.min)), best.min);
    const solved = solve({ x, weights, codes }, sums);
    if (solved === undefined) continue;
    const error = squaredError({ x, weights, codes }, solved.scale, solved.min);
    if (error < best.error) best = { codes, ...solved, error };
  }
  return { scale: best.scale, min: -best.min, codes: best.codes };
}

interface Coded {
  readonly x: Float32Array;
  readonly weights: Float32Array;
  readonly codes: Uint8Array;
}

interface WeightedSums {
  readonly w: number;
  readonly wx: number;
}

function weightedSums(x: Float32Array, weights: Float32Array): WeightedSums {
  let w = 0;
  let wx = 0;
  for (let i = 0; i < x.length; i++) {
    w = f32(w + (weights[i] ?? 0));
    wx = f32(wx + f32((weights[i] ?? 0) * (x[i] ?? 0)));
  }
  return { w, wx };
}

function roundToGrid(x: Float32Array, grid: number, low: number): Uint8Array {
  return Uint8Array.from(x, (value) =>
    Math.max(0, Math.min(maxCode, roundHalfEven(f32(grid * f32(value - low))))),
  );
}

/** Scale and minimum (<= 0 here) of least weighted squared error for given codes; undefined where all codes are equal. */
function solve(
  { x, weights, codes }: Coded,
  { w: sumW, wx: sumWx }: WeightedSums,
): { readonly scale: number; readonly min: number } | undefined {
  let sumQ = 0;
  let sumQ2 = 0;
  let sumXq = 0;
  for (let i = 0; i < x.length; i++) {
    const q = codes[i] ?? 0;
    const wq = f32((weights[i] ?? 0) * q);
    sumQ = f32(sumQ + wq);
    sumQ2 = f32(sumQ2 + f32(wq * q));
    sumXq = f32(sumXq + f32(wq * (x[i] ?? 0)));
  }
  const determinant = f32(f32(sumW * sumQ2) - f32(sumQ * sumQ));
  if (!(determinant > 0)) return undefined;
  const scale = f32(f32(f32(sumW * sumXq) - f32(sumWx * sumQ)) / determinant);
  const min = f32(f32(f32(sumQ2 * sumWx) - f32(sumQ * sumXq)) / determinant);
  return min > 0 ? { scale: f32(sumXq / sumQ2), min: 0 } : { scale, min };
}

function squaredError({ x, weights, codes }: Coded, scale: number, min: number): number {
  let error = 0;
  for (let i = 0; i < x.length; i++) {
    const difference = f32(f32(f32(scale * (codes[i] ?? 0)) + min) - (x[i] ?? 0));
    error = f32(error + f32((weights[i] ?? 0) * f32(difference * difference)));
  }
  return error;
}
