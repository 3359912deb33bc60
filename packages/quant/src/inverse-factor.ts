export interface InverseFactor {
  /** U, upper triangular, row-major [size, size], with U^T U the inverse of the damped moments. */
  readonly factor: Float64Array;
  /** The diagonal of the moments over its mean (1 where all are 0). */
  readonly squares: Float32Array;
}

/**
 * Factors the inverse of second moments by Cholesky's method, after adding `damping` times the mean of the diagonal to it.
 *
 * A column that no input reached (a zero on the diagonal) gets a one there: it is related to no other.
 * @param sums  [size, size], symmetric, positive semidefinite
 */
export function inverseFactor(sums: Float32Array, size: number, damping: number): InverseFactor {
  let trace = 0;
  for (let i = 0; i < size; i++) trace += sums[i * size + i] ?? 0;
  const mean = trace > 0 ? trace / size : 1;
  const squares = Float32Array.from({ length: size }, (_, i) =>
    trace > 0 ? (sums[i * size + i] ?? 0) / mean : 1,
  );
  // Turned round: the lower factor of the reversed matrix is the reversed upper one, H = V V^T with V upper, and U = V^-1.
  const reversed = new Float64Array(size * size);
  for (let i = 0; i < size; i++) {
    for (let j = 0; j < size; j++) {
      const at = (size - 1 - i) * size + (size - 1 - j);
      const damped = i === j ? (squares[i] === 0 ? 1 : damping) : 0;
      reversed[at] = (sums[i * size + j] ?? 0) / mean + damped;
    }
  }
  const inverse = invertLower(lowerFactor(reversed, size), size);
  const factor = new Float64Array(size * size);
  for (let i = 0; i < size * size; i++) factor[i] = inverse[size * size - 1 - i] ?? 0;
  return { factor, squares };
}

/** L with L L^T = A, row by row; overwrites nothing. */
function lowerFactor(a: Float64Array, size: number): Float64Array {
  const lower = new Float64Array(size * size);
  for (let i = 0; i < size; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = a[i * size + j] ?? 0;
      for (let k = 0; k < j; k++) sum -= (lower[i * size + k] ?? 0) * (lower[j * size + k] ?? 0);
      lower[i * size + j] = i === j ? Math.sqrt(sum) : sum / (lower[j * size + j] ?? 1);
    }
  }
  return lower;
}

/** L^-1, row by row: row i is (e_i - sum over k < i of L_ik times row k) / L_ii. */
function invertLower(lower: Float64Array, size: number): Float64Array {
  const inverse = new Float64Array(size * size);
  for (let i = 0; i < size; i++) {
    const own = inverse.subarray(i * size, i * size + i + 1);
    own[i] = 1;
    for (let k = 0; k < i; k++) {
      const times = lower[i * size + k] ?? 0;
      const other = inverse.subarray(k * size, k * size + k + 1);
      for (let j = 0; j <= k; j++) own[j] = (own[j] ?? 0) - times * (other[j] ?? 0);
    }
    const scale = 1 / (lower[i * size + i] ?? 1);
    for (let j = 0; j <= i; j++) own[j] = (own[j] ?? 0) * scale;
  }
  return inverse;
}
