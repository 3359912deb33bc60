import { roundHalfEven } from "../half.js";

const f32 = Math.fround;

/**
 * Finds the scale of one sub-block of signed codes -n..n-1: maximises (sum w x q)^2 / sum w q^2 over 19 rounding grids
 * q = round(-(n + 0.1 k) x / max), k = -9..9, where the best scale is (sum w x q) / (sum w q^2). All in f32.
 *
 * @param weights  how much an error of each x counts; Q6_K takes x^2
 * @param n  32 for six bits, 8 for four
 * @returns the scale, of the sign opposite to that of the x of greatest size, or 0 for zeros; and the codes q + n
 * @see ggml, `make_qx_quants` (rmse_type 1, or qw)
 */
export function fitScale(
  x: Float32Array,
  weights: Float32Array,
  n: 8 | 32,
): { readonly scale: number; readonly codes: Uint8Array } {
  const greatest = x.reduce((most, value) => (Math.abs(value) > Math.abs(most) ? value : most), 0);
  if (Math.abs(greatest) < 1e-15) return { scale: 0, codes: new Uint8Array(x.length) };
  const coded = { x, weights, n };
  let grid = f32(-n / greatest);
  let bestGrid = grid;
  const first = products(coded, grid);
  let scale = first.q2 === 0 ? 0 : f32(first.xq / first.q2);
  let best = f32(scale * first.xq);
  for (let k = -9; k <= 9; k++) {
    if (k === 0) continue;
    grid = f32(-f32(n + f32(f32(0.1) * k)) / greatest);
    const { xq, q2 } = products(coded, grid);
    if (!(q2 > 0 && f32(xq * xq) > f32(best * q2))) continue;
    scale = f32(xq / q2);
    best = f32(scale * xq);
    bestGrid = grid;
  }
  return { scale, codes: Uint8Array.from(x, (value) => toCode(bestGrid, value, n)) };
}

interface Coded {
  readonly x: Float32Array;
  readonly weights: Float32Array;
  readonly n: number;
}

/** sum w x q and sum w q^2 on one grid. */
function products({ x, weights, n }: Coded, grid: number): { readonly xq: number; readonly q2: number } {
  let xq = 0;
  let q2 = 0;
  for (let i = 0; i < x.length; i++) {
    const value = x[i] ?? 0;
    const weight = weights[i] ?? 0;
    const q = toCode(grid, value, n) - n;
    xq = f32(xq + f32(f32(weight * value) * q));
    q2 = f32(q2 + f32(f32(weight * q) * q));
  }
  return { xq, q2 };
}

function toCode(grid: number, value: number, n: number): number {
  return Math.max(-n, Math.min(n - 1, roundHalfEven(f32(grid * value)))) + n;
}
