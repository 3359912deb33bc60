import { describe, expect, test } from "vitest";
import { gatherOp, scatterAddOp, takeGradOp, takeOp, topKOp } from "../../ops/indexing.js";
import { type HostArray, hostArray } from "../../reference/host-array.js";
import { type Shape, sizeOf } from "../../shape.js";
import { gatherKernel, scatterAddKernel } from "./gather.js";
import type { LaneDType } from "./lanes.js";
import { takeGradKernel, takeKernel } from "./take.js";
import { machines, randomArray, runKernel, worstError } from "./testing/run-kernel.js";
import { topKKernel } from "./top-k.js";

/** Indices -1..extent: the ends are out of range. */
function indexArray(shape: Shape, extent: number): HostArray {
  const array = hostArray({ shape, dtype: "i32" });
  for (let i = 0; i < array.data.length; i++) array.data[i] = ((i * 7919 + 3) % (extent + 2)) - 1;
  return array;
}

const dtypes: LaneDType[] = ["f32", "f16", "bf16", "i32", "u32", "i8", "u8", "bool"];

describe("take", () => {
  const shapes = [
    [1, 5, 3, 4],
    [1, 9, 33, 12],
    [2, 7, 1, 5],
    [3, 4, 130, 3],
    [1, 3, 2, 0],
    [1, 1, 1, 1],
  ] as const;
  test.each(dtypes)("rows of %s and their gradient", (dtype) => {
    for (const [outer, extent, inner, count] of shapes) {
      const x = randomArray([outer, extent, inner], dtype);
      const indices = indexArray([count], extent);
      const y = { shape: [outer, count, inner], dtype };
      const expected = hostArray(y);
      takeOp.spec.evaluate?.([x, indices], [expected], { axis: 1 });
      const dy = randomArray(y.shape, dtype, { seed: 3 });
      const dx = hostArray(x);
      takeGradOp.spec.evaluate?.([dy, indices], [dx], { axis: 1, shape: x.shape });
      for (const features of machines) {
        for (const ranges of [1, 3]) {
          const shape = { outer, extent, inner, count, dtype };
          expect(runKernel(takeKernel(shape, features), [x, indices], [y], { ranges })[0]).toEqual(expected);
          if (dtype === "bool") continue;
          const [gradient] = runKernel(takeGradKernel(shape, features), [dy, indices], [x], { ranges });
          expect(worstError(gradient ?? x, dx)).toBeLessThan(
            dtype === "bf16" ? 8e-3 : dtype === "f16" ? 1e-3 : 1e-6,
          );
        }
      }
    }
  });
});

describe("gather and scatterAdd", () => {
  const cases: [Shape, Shape, number][] = [
    [[5], [9], 0],
    [[4, 6], [4, 3], 1],
    [[4, 6], [7, 6], 0],
    [[4, 6], [2, 5], 1],
    [[3, 4, 5], [3, 9, 5], 1],
    [[3, 4, 5], [2, 9, 4], 1],
    [[2, 3, 1, 4], [2, 3, 6, 4], 2],
    [[3, 4], [0, 4], 0],
  ];
  test.each(cases)("x %j, indices %j, axis %i", (shape, indexShape, axis) => {
    for (const dtype of ["f32", "f16", "i32", "u8"] as const) {
      const x = randomArray(shape, dtype);
      const indices = indexArray(indexShape, shape[axis] ?? 1);
      const updates = randomArray(indexShape, dtype, { seed: 2 });
      const picked = hostArray(updates);
      gatherOp.spec.evaluate?.([x, indices], [picked], { axis });
      const sum = hostArray(x);
      scatterAddOp.spec.evaluate?.([x, indices, updates], [sum], { axis });
      const spec = { shape, indices: indexShape, axis, dtype };
      for (const features of machines) {
        for (const ranges of [1, 3]) {
          expect(runKernel(gatherKernel(spec, features), [x, indices], [picked], { ranges })[0]).toEqual(
            picked,
          );
          const [y] = runKernel(scatterAddKernel(spec, features), [x, indices, updates], [x], { ranges });
          expect(worstError(y ?? x, sum)).toBeLessThan(dtype === "f16" ? 2e-3 : 1e-6);
        }
      }
    }
  });
});

describe("topK", () => {
  test.each(dtypes.flatMap((dtype) => [true, false].map((largest) => ({ dtype, largest }))))(
    "of $dtype, largest $largest, in the order of the plain sort",
    ({ dtype, largest }) => {
      for (const [rows, columns, k] of [
        [1, 1, 1],
        [3, 9, 4],
        [2, 200, 7],
        [2, 65, 65],
        [1, 500, 499],
        [2, 3, 0],
      ] as const) {
        const x = randomArray([rows, columns], dtype, { seed: columns });
        for (let i = 0; i + 5 < sizeOf(x.shape); i += 5) x.data[i + 5] = x.data[i] ?? 0; // ties
        if (dtype.includes("f") && columns > 8)
          x.data.set([Number.NaN, -0, 0, Infinity, -Infinity, Number.NaN], 2);
        const types = [
          { shape: [rows, k], dtype },
          { shape: [rows, k], dtype: "i32" as const },
        ];
        const expected = types.map(hostArray);
        topKOp.spec.evaluate?.([x], expected, { k, largest });
        for (const features of machines) {
          for (const ranges of [1, 3]) {
            const kernel = topKKernel({ rows, columns, k, largest, dtype }, features);
            expect(runKernel(kernel, [x], types, { ranges })).toEqual(expected);
          }
        }
      }
    },
  );
});
