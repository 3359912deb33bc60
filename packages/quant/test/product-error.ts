import type { HostArray } from "@heddle/tensor";

type Values = HostArray["data"] | ArrayLike<number>;

/**
 * The largest difference of a product y = x W^T from the one in float64, in units of the sum of its terms' sizes; NaN where its extents
 * are others. Shapes: x [rows, in], w [out, in], y [rows, out].
 */
export function productError(
  { x, w, y }: Record<"x" | "w" | "y", Values>,
  [rows, outFeatures, inFeatures]: readonly [number, number, number],
): number {
  const at = (values: Values, i: number) => Number(values[i] ?? Number.NaN);
  let worst = y.length === rows * outFeatures ? 0 : Number.NaN;
  for (let m = 0; m < rows; m++) {
    for (let n = 0; n < outFeatures; n++) {
      let [sum, size] = [0, 1e-30];
      for (let k = 0; k < inFeatures; k++) {
        const term = at(x, m * inFeatures + k) * at(w, n * inFeatures + k);
        sum += term;
        size += Math.abs(term);
      }
      worst = Math.max(worst, Math.abs(at(y, m * outFeatures + n) - sum) / size);
    }
  }
  return worst;
}
