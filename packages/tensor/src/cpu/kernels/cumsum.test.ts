import { expect, test } from "vitest";
import { cumsumOp } from "../../ops/reduce.js";
import { hostArray } from "../../reference/host-array.js";
import { cumsumKernel } from "./cumsum.js";
import type { LaneDType } from "./lanes.js";
import { machines, randomArray, runKernel, worstError } from "./testing/run-kernel.js";

const tolerances: [LaneDType, number][] = [
  ["f32", 1e-6],
  ["f16", 1e-3],
  ["bf16", 8e-3],
  ["i32", 0],
  ["i8", 0],
  ["u8", 0],
];

test.each(
  tolerances.flatMap(([dtype, bound]) => [false, true].map((reverse) => ({ dtype, bound, reverse }))),
)("cumsum of $dtype, reverse $reverse", ({ dtype, bound, reverse }) => {
  for (const [outer, extent, inner] of [
    [1, 1, 1],
    [3, 70, 1],
    [2, 9, 5],
    [1, 4, 133],
    [0, 3, 2],
  ] as const) {
    const x = randomArray([outer, extent, inner], dtype);
    const expected = hostArray(x);
    cumsumOp.spec.evaluate?.([x], [expected], { axis: 1, reverse });
    for (const features of machines) {
      const kernel = cumsumKernel({ outer, extent, inner, dtype, reverse }, features);
      for (const ranges of [1, 3]) {
        const [y] = runKernel(kernel, [x], [x], { ranges, inPlace: { 0: 0 } });
        expect(worstError(y ?? x, expected)).toBeLessThanOrEqual(bound);
      }
    }
  }
});
