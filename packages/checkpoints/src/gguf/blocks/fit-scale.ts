import { roundHalfEven } from "../half.js";

const f32 = Math.fround;

/**
 * Finds the scale of one sub-block of Q6_K: maximises (sum w x q)^2 / sum w q^2 with w = x^2 over 19 rounding grids
 * q = round(-(32 + 0.1 k) x / max), k = -9..9, where the best scale is (sum w x q) / (sum w q^2). All in f32.
 *
 * @returns the scale, of the sign opposite to that of the x of greatest size, or 0 for zeros; and the codes q + 32
 * @see ggml, `make_qx_quants` as Q6_K calls it (nmax 32, rmse_type 1)
 */
export function fitScale(x: Float32Array): { readonly scale: number; readonly codes: Uint8Array } {
  const greatest = x.reduce((most, value) => (Math.abs(value) > Math.abs(most) ? value : most), 0);
  if (Math.abs(greatest) < 1e-15) return { scale: 0, codes: new Uint8Array(x.length) };
  const firstGrid = f32(-32 / greatest);
  const first = products(x, firstGrid);
  let codes = roundToGrid(x, firstGrid);
  let scale = first.q2 === 0 ? 0 : f32(first.xq / first.q2);
  let best = f32(scale * first.xq);
  for (let k = -9; k <= 9; k++) {
    if (k === 0) continue;
    const grid = f32(-f32(32 + f32(f32(0.1) * k)) / greatest);
    const { xq, q2 } = products(x, grid);
    if (!(q2 > 0 && f32(xq * xq) > f32(best * q2))) continue;
    scale = f32(xq / q2);
    best = f32(scale * xq);
    codes = roundToGrid(x, grid);
  }
  return { scale, codes };
}

/** sum w x q and sum w q^2 on one grid. */
function products(x: Float32Array, grid: number): { readonly xq: number; readonly q2: number } {
  let xq = 0;
  let q2 = 0;
  for (const value of x) {
    const q = toCode(grid, value) - 32;
    const weight = f32(value * value);
    xq = f32(xq + f32(f32(weight * value) * q));
    q2 = f32(q2 + f32(f32(weight * q) * q));
  }
  return { xq, q2 };
}

function roundToGrid(x: Float32Array, grid: number): Uint8Array {
  return Uint8Array.from(x, (value) => toCode(grid, value));
}

function toCode(grid: number, value: number): number {
  return Math.max(-32, Math.min(31, roundHalfEven(f32(grid * value)))) + 32;
}
