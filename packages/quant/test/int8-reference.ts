import { BLOCK_SIZE } from "../src/quant-format.js";

/** A row of activations rounded to int8 in blocks of 32, every step in f32: the twin of the kernels' first step. */
export function roundActivations(x: Float32Array): {
  readonly codes: Int32Array;
  readonly scales: Float32Array;
} {
  const codes = new Int32Array(x.length);
  const scales = new Float32Array(Math.ceil(x.length / BLOCK_SIZE));
  for (const block of scales.keys()) {
    const part = x.subarray(block * BLOCK_SIZE, (block + 1) * BLOCK_SIZE);
    const largest = part.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    if (largest < 2 ** -100) continue;
    scales[block] = largest / 127;
    const inverse = Math.fround(127 / largest);
    part.forEach((value, i) => {
      const scaled = Math.fround(value * inverse);
      const magic = 6755399441055744; // ties to even
      codes[block * BLOCK_SIZE + i] = scaled + magic - magic;
    });
  }
  return { codes, scales };
}

/**
 * y = x W^T with rounded x and exact W [out, in], in float64; and the sum of the sizes of what was added, to which rounding
 * errors are relative.
 */
export function int8Product(
  x: Float32Array,
  weight: ArrayLike<number>,
): { readonly y: Float64Array; readonly size: Float64Array } {
  const { codes, scales } = roundActivations(x);
  const columns = x.length;
  const y = new Float64Array(weight.length / columns);
  const size = new Float64Array(y.length);
  for (const row of y.keys()) {
    for (let k = 0; k < columns; k++) {
      const term =
        (codes[k] ?? 0) * (scales[Math.floor(k / BLOCK_SIZE)] ?? 0) * (weight[row * columns + k] ?? 0);
      y[row] = (y[row] ?? 0) + term;
      size[row] = (size[row] ?? 0) + Math.abs(term);
    }
  }
  return { y, size };
}
