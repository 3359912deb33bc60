import { reference, tensor } from "@heddle/tensor";
import fc from "fast-check";
import { expect, test } from "vitest";
import { worstGradient } from "../test/compare.js";
import { relativePositions, relativeShift } from "./alignment.js";

const sizes = fc.record({
  T: fc.integer({ min: 1, max: 6 }),
  S: fc.integer({ min: 1, max: 7 }),
  queryStart: fc.integer({ min: -3, max: 9 }),
});

test("the shift gives each pair the column of its relative position", () => {
  const device = reference();
  fc.assert(
    fc.property(sizes, ({ T, S, queryStart }) => {
      const columns = relativePositions({ queryLen: T, keyLen: S, queryStart });
      const rows = Array.from({ length: 2 * T }, (_, i) => columns.map((n) => 1000 * i + n)).flat();
      const shifted = relativeShift(tensor(device, rows, { shape: [2, T, T + S - 1] }));
      expect(shifted.shape).toEqual([2, T, S]);
      const expected = Array.from({ length: 2 * T }, (_, i) =>
        Array.from({ length: S }, (_, j) => 1000 * i + j - (queryStart + (i % T))),
      ).flat();
      expect(Array.from(shifted.dataSync())).toEqual(expected);
    }),
    { numRuns: 60 },
  );
});

test("the gradient of the shift is that of central differences", () => {
  const device = reference();
  const x = tensor(
    device,
    Float64Array.from({ length: 24 }, (_, i) => Math.sin(i)),
    { shape: [2, 3, 4] },
  );
  expect(worstGradient([x], ([input = x]) => relativeShift(input))).toBeLessThan(1e-7);
});
