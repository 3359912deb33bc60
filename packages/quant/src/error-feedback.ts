import { HeddleError } from "@heddle/tensor";
import type { InputMoments } from "./input-moments.js";
import { inverseFactor } from "./inverse-factor.js";

/** Rounds element i of a group, which may have changed since the group began: keeps its code and gives the value it stands for. */
export type RoundElement = (i: number, value: number) => number;

/** A group of columns of one row whose scale is chosen together. */
export interface RoundedColumns {
  readonly row: number;
  readonly start: number;
  /** As far as they are known when the group begins. */
  readonly values: Float32Array;
  /** Mean squares of what each is multiplied by, for choosing the scale. */
  readonly weights: Float32Array;
}

export interface ErrorFeedbackOptions {
  /** Of the weight's inputs, `width` columns. */
  readonly moments: InputMoments;
  /** Columns that share a scale; the last group of a row may be narrower. A window of the moments holds whole groups. */
  readonly groupSize: number;
  /** Share of the mean of the diagonal that is added to it, so that the moments have an inverse; default 0.01. */
  readonly damping?: number;
  /** Chooses the scale of a group. */
  readonly begin: (group: RoundedColumns) => RoundElement;
}

/**
 * Rounds a matrix column after column and answers the error of each with the columns that are still whole, so that the sum of
 * squares of x (W - Q)^T over the observed x grows least: GPTQ.
 *
 * With U^T U the inverse of the damped moments, U upper triangular, rounding column j by e changes each later column k by
 * -e U_jk / U_jj.
 *
 * Shapes: weight [rows, width], row-major; borrowed.
 * @throws HeddleError "shape" if the moments are those of another width, "config" if windows split groups
 * @see Frantar et al. 2023, GPTQ, arXiv:2210.17323, section 3 (eq. 2 and 3, and the Cholesky form)
 * Differs from the paper: columns of different windows of the moments count as unrelated, scales are chosen for the mean squares of
 * the inputs, and columns that no input ever reached are rounded to the nearest. Twin: `leastErrorRow` in the test, which solves for the
 * columns that are left after each step.
 */
export function roundWithFeedback(weight: Float32Array, options: ErrorFeedbackOptions): void {
  const { moments, damping = 0.01 } = options;
  const { width, window } = moments;
  checkMoments(weight.length, options);
  const rows = weight.length / width;
  for (const [at, sums] of moments.sums.entries()) {
    const from = at * window;
    const size = Math.min(window, width - from);
    const { factor, squares } = inverseFactor(sums, size, damping);
    const left = new Float64Array(size);
    for (let row = 0; row < rows; row++) {
      left.set(weight.subarray(row * width + from, row * width + from + size));
      roundRow(left, { ...options, factor, squares, row, from });
    }
  }
}

interface RowOptions extends ErrorFeedbackOptions {
  /** U, row-major. */
  readonly factor: Float64Array;
  readonly squares: Float32Array;
  readonly row: number;
  /** First column of the window. */
  readonly from: number;
}

function roundRow(left: Float64Array, { factor, squares, row, from, groupSize, begin }: RowOptions): void {
  const size = left.length;
  for (let start = 0; start < size; start += groupSize) {
    const end = Math.min(size, start + groupSize);
    const round = begin({
      row,
      start: from + start,
      values: Float32Array.from(left.subarray(start, end)),
      weights: squares.subarray(start, end),
    });
    for (let j = start; j < end; j++) {
      const value = left[j] ?? 0;
      const at = j * size;
      const error = (value - round(j - start, value)) / (factor[at + j] ?? 1);
      for (let k = j + 1; k < size; k++) left[k] = (left[k] ?? 0) - error * (factor[at + k] ?? 0);
    }
  }
}

function checkMoments(count: number, { moments, groupSize }: ErrorFeedbackOptions): void {
  const { width, window } = moments;
  if (count % width !== 0) {
    const message = `roundWithFeedback: the moments must be of the weight's columns; got ${width} columns for ${count} weights. Observe the same weight.`;
    throw new HeddleError("shape", message, { width, count });
  }
  if (window < width && window % groupSize !== 0) {
    const message = `roundWithFeedback: a window of the moments must hold whole groups; got window ${window}, groupSize ${groupSize}. Observe with a window that is a multiple of ${groupSize}.`;
    throw new HeddleError("config", message, { window, groupSize });
  }
}
