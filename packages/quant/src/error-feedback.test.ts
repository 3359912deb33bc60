import { HeddleError } from "@heddle/tensor";
import { describe, expect, test } from "vitest";
import { roundWithFeedback } from "./error-feedback.js";
import type { InputMoments } from "./input-moments.js";

/** Numbers from -1 to 1. */
function numbers(count: number, seed: number): Float32Array {
  const random = seeded(seed);
  return Float32Array.from({ length: count }, () => 2 * random() - 1);
}

function seeded(seed: number): () => number {
  let state = seed * 2654435761 + 1;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Inputs [count, width] of which neighbours resemble each other. */
function inputs(count: number, width: number): Float32Array[] {
  const plain = numbers(count * width, 3);
  return Array.from({ length: count }, (_, row) =>
    Float32Array.from({ length: width }, (_, i) => {
      const at = (j: number) => plain[row * width + ((j + width) % width)] ?? 0;
      return at(i) + 0.8 * at(i - 1) + 0.6 * at(i + 1);
    }),
  );
}

function momentsOf(rows: readonly Float32Array[], width: number, window = width): InputMoments {
  const sums = Array.from({ length: Math.ceil(width / window) }, (_, k) => {
    const size = Math.min(window, width - k * window);
    return Float32Array.from({ length: size * size }, (_, at) => {
      const [i, j] = [k * window + Math.floor(at / size), k * window + (at % size)];
      return rows.reduce((sum, x) => sum + (x[i] ?? 0) * (x[j] ?? 0), 0);
    });
  });
  return { width, window, sums };
}

const step = 0.25;
const toStep = (value: number) => step * Math.round(value / step);

/** Rounds to whole steps with feedback. */
function fedBack(weight: Float32Array, moments: InputMoments, damping?: number): Float32Array {
  const out = new Float32Array(weight.length);
  roundWithFeedback(weight, {
    moments,
    groupSize: 8,
    ...(damping === undefined ? {} : { damping }),
    begin:
      ({ row, start }) =>
      (i, value) => {
        const rounded = toStep(value);
        out[row * moments.width + start + i] = rounded;
        return rounded;
      },
  });
  return out;
}

/** The twin: after each column, the columns that are left are solved for anew, so that the error on the moments is least. */
function leastErrorRow(w: Float32Array, moments: Float32Array, damping: number): number[] {
  const width = w.length;
  let trace = 0;
  for (let i = 0; i < width; i++) trace += moments[i * width + i] ?? 0;
  const at = (i: number, j: number) =>
    (moments[i * width + j] ?? 0) + (i === j ? (damping * trace) / width : 0);
  const chosen: number[] = [];
  let left = [...w];
  for (let j = 0; j < width; j++) {
    chosen.push(toStep(left[j] ?? 0));
    // d = w - q for chosen columns C, free columns F: H_FF d_F = -H_FC d_C.
    const free = Array.from({ length: width - j - 1 }, (_, k) => j + 1 + k);
    const matrix = free.map((row) => free.map((column) => at(row, column)));
    const right = free.map(
      (row) => -chosen.reduce((sum, q, column) => sum + at(row, column) * ((w[column] ?? 0) - q), 0),
    );
    const d = solve(matrix, right);
    left = [...w].map((value, k) => (k <= j ? value : value - (d[k - j - 1] ?? 0)));
  }
  return chosen;
}

/** Gaussian elimination of a definite system. */
function solve(matrix: number[][], right: number[]): number[] {
  const rows = matrix.map((row, i) => [...row, right[i] ?? 0]);
  const size = rows.length;
  const cell = (i: number, j: number) => rows[i]?.[j] ?? 0;
  for (let pivot = 0; pivot < size; pivot++) {
    for (let i = 0; i < size; i++) {
      if (i === pivot) continue;
      const times = cell(i, pivot) / cell(pivot, pivot);
      rows[i] = (rows[i] ?? []).map((value, j) => value - times * cell(pivot, j));
    }
  }
  return rows.map((_, i) => cell(i, size) / cell(i, i));
}

/** Sum over inputs of the squared error of products. */
function productError(weight: Float32Array, rounded: Float32Array, rows: readonly Float32Array[]): number {
  const width = rows[0]?.length ?? 1;
  let sum = 0;
  for (let row = 0; row < weight.length / width; row++) {
    for (const x of rows) {
      let error = 0;
      for (let i = 0; i < width; i++)
        error += ((weight[row * width + i] ?? 0) - (rounded[row * width + i] ?? 0)) * (x[i] ?? 0);
      sum += error * error;
    }
  }
  return sum;
}

describe("roundWithFeedback", () => {
  const width = 24;
  const rows = inputs(200, width);

  test.each([0.01, 0.3])("chooses what solving anew after each column chooses, damping %d", (damping) => {
    const moments = momentsOf(rows, width);
    const weight = numbers(6 * width, 5);
    const out = fedBack(weight, moments, damping);
    for (let row = 0; row < 6; row++) {
      const own = weight.subarray(row * width, (row + 1) * width);
      const expected = leastErrorRow(own, moments.sums[0] ?? new Float32Array(), damping);
      expect([...out.subarray(row * width, (row + 1) * width)]).toEqual(expected);
    }
  });

  test("makes the error of products smaller than rounding to the nearest does", () => {
    const weight = numbers(16 * width, 7);
    const nearest = weight.map(toStep);
    const whole = fedBack(weight, momentsOf(rows, width));
    const windows = fedBack(weight, momentsOf(rows, width, 8));
    const error = (rounded: Float32Array) => productError(weight, rounded, rows);
    expect(error(whole)).toBeLessThan(0.6 * error(nearest));
    expect(error(windows)).toBeLessThan(0.9 * error(nearest));
    expect(error(whole)).toBeLessThan(error(windows));
  });

  test("rounds to the nearest where inputs are unrelated, or none came", () => {
    const weight = numbers(4 * width, 9);
    const sums = Float32Array.from({ length: width * width }, (_, at) =>
      at % (width + 1) === 0 ? at % 5 : 0,
    );
    for (const own of [sums, new Float32Array(width * width)]) {
      expect(fedBack(weight, { width, window: width, sums: [own] })).toEqual(weight.map(toStep));
    }
  });

  test("tells each group what it holds, and how much its columns count", () => {
    const sums = Float32Array.from([3, 0, 0, 1]);
    const groups: unknown[] = [];
    roundWithFeedback(Float32Array.of(1, 2, 3, 4), {
      moments: { width: 2, window: 2, sums: [sums] },
      groupSize: 1,
      begin: ({ row, start, values, weights }) => {
        groups.push([row, start, ...values, ...weights]);
        return (_, value) => value;
      },
    });
    expect(groups).toEqual([
      [0, 0, 1, 1.5],
      [0, 1, 2, 0.5],
      [1, 0, 3, 1.5],
      [1, 1, 4, 0.5],
    ]);
  });

  test("refuses moments that do not fit", () => {
    const moments = momentsOf(rows, width, 8);
    const begin = () => (_: number, value: number) => value;
    const run = (count: number, groupSize: number) => () =>
      roundWithFeedback(new Float32Array(count), { moments, groupSize, begin });
    expect(run(25, 8)).toThrow(HeddleError);
    expect(run(25, 8)).toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: roundWithFeedback: the moments must be of the weight's columns; got 24 columns for 25 weights. Observe the same weight.]`,
    );
    expect(run(24, 16)).toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: roundWithFeedback: a window of the moments must hold whole groups; got window 8, groupSize 16. Observe with a window that is a multiple of 16.]`,
    );
  });
});
