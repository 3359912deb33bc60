import { type Device, randn, reference } from "@heddle/tensor";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { worstDifference, worstGradient } from "../test/compare.js";
import { devices } from "../test/devices.js";
import { shaw, shawValues } from "./shaw.js";

const clip = (n: number, k: number) => Math.min(k, Math.max(-k, n)) + k;

describe.each(devices)("shaw on $name", ({ create, tolerance }) => {
  let device: Device;
  beforeAll(() => {
    device = create();
  });
  afterAll(() => device.dispose());

  test.each([
    [3, 5, 2],
    [1, 6, 5],
    [4, 2, 0],
  ])("keys and values equal the double loop: %i queries, %i keys from position %i", (T, S, queryStart) => {
    const [D, k] = [3, 2];
    const query = randn(device, [2, 2, T, D], { seed: 1 });
    const table = randn(device, [2 * k + 1, D], { seed: 2 });
    const probs = randn(device, [2, 2, T, S], { seed: 3 });
    const scores = shaw(table).scores(query, query, { queryLen: T, keyLen: S, queryStart }).dataSync();
    const added = shawValues(probs, table, { queryStart }).dataSync();
    const [q, a, p] = [query.dataSync(), table.dataSync(), probs.dataSync()];
    const expectedScores = new Array<number>(4 * T * S).fill(0);
    const expectedValues = new Array<number>(4 * T * D).fill(0);
    for (let row = 0; row < 4 * T; row++) {
      for (let j = 0; j < S; j++) {
        const from = clip(j - (row % T) - queryStart, k) * D;
        for (let d = 0; d < D; d++) {
          const learnt = a[from + d] ?? Number.NaN;
          expectedScores[row * S + j] =
            (expectedScores[row * S + j] ?? 0) + ((q[row * D + d] ?? 0) * learnt) / Math.sqrt(D);
          expectedValues[row * D + d] = (expectedValues[row * D + d] ?? 0) + (p[row * S + j] ?? 0) * learnt;
        }
      }
    }
    expect(worstDifference(scores, expectedScores)).toBeLessThan(5 * tolerance);
    expect(worstDifference(added, expectedValues)).toBeLessThan(5 * tolerance);
  });

  test("leaks nothing", () => {
    const query = randn(device, [1, 1, 3, 2], { seed: 1 });
    const table = randn(device, [5, 2], { seed: 2 });
    const before = device.memory().buffers;
    shaw(table).scores(query, query, { queryLen: 3, keyLen: 3 }).dispose();
    expect(device.memory().buffers).toBe(before);
  });
});

const device = reference();
const table = randn(device, [5, 2], { seed: 2 });

test("gradients are those of central differences", () => {
  const query = randn(device, [1, 2, 3, 2], { seed: 1 });
  const scores = worstGradient([query, table], ([q = query, a = table]) =>
    shaw(a).scores(q, q, { queryLen: 3, keyLen: 4 }),
  );
  expect(scores).toBeLessThan(1e-6);
  const probs = randn(device, [1, 2, 3, 4], { seed: 3 });
  const values = worstGradient([probs, table], ([p = probs, a = table]) => shawValues(p, a));
  expect(values).toBeLessThan(1e-6);
});

test("errors name the rule, the values and the cure", () => {
  const even = randn(device, [4, 2], { seed: 1 });
  expect(() => shaw(even)).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: shaw: the table must be [2k + 1, D], a row for each relative position -k..k; got table [4, 2]. Check the clipping distance k.]`,
  );
  expect(() => shawValues(even, table)).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: shawValues: probs must be [B, H, T, S]; got probs [4, 2]. Reshape it, or check the model's config.]`,
  );
});
