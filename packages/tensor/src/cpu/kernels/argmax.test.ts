import { expect, test } from "vitest";
import { argmaxOp, argminOp } from "../../ops/reduce.js";
import { hostArray } from "../../reference/host-array.js";
import { argmaxKernel } from "./argmax.js";
import type { LaneDType } from "./lanes.js";
import { machines, randomArray, runKernel } from "./testing/run-kernel.js";

const dtypes: LaneDType[] = ["f32", "f16", "bf16", "i32", "u32", "i8", "u8"];
const shapes: [number, number, number][] = [
  [1, 1, 1],
  [5, 37, 1],
  [3, 8, 1],
  [2, 7, 5],
  [1, 3, 131],
  [0, 3, 1],
  [4, 300, 1],
];

test.each(dtypes.flatMap((dtype) => (["max", "min"] as const).map((which) => ({ dtype, which }))))(
  "arg$which of $dtype finds the first extreme and the first NaN",
  ({ dtype, which }) => {
    for (const [outer, extent, inner] of shapes) {
      const x = randomArray([outer, extent, inner], dtype, { seed: extent });
      if (dtype.includes("f") && extent > 7 && inner === 1)
        x.data.set([Number.NaN, 1, Number.NaN], extent + 4);
      const out = { shape: [outer, inner], dtype: "i32" as const };
      const expected = hostArray(out);
      const op = which === "max" ? argmaxOp : argminOp;
      op.spec.evaluate?.([x], [expected], { axis: 1, keepDims: false });
      for (const features of machines) {
        const kernel = argmaxKernel(which, { outer, extent, inner, dtype }, features);
        for (const ranges of [1, 3]) expect(runKernel(kernel, [x], [out], { ranges })[0]).toEqual(expected);
      }
    }
  },
);
