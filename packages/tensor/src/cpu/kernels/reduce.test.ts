import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Expression } from "../../expression.js";
import type { Combine, Reduction } from "../../op-forms.js";
import { evaluateReduction } from "../../ops/reduce.js";
import { hostArray } from "../../reference/host-array.js";
import type { Shape } from "../../shape.js";
import type { LaneDType } from "./lanes.js";
import { reduceKernel } from "./reduce.js";
import { machines, randomArray, runKernel, worstError } from "./testing/run-kernel.js";

const identity = (dtype: LaneDType): Expression => ({
  nodes: [{ op: "input", index: 0, dtype }],
  outputs: [0],
});
/** f(x, y) = x * y + 0.25 */
const product: Expression = {
  nodes: [
    { op: "input", index: 0, dtype: "f32" },
    { op: "input", index: 1, dtype: "f32" },
    { op: "constant", value: 0.25, dtype: "f32" },
    { op: "mul", args: [0, 1], dtype: "f32" },
    { op: "add", args: [3, 2], dtype: "f32" },
  ],
  outputs: [4],
};
/** f(total) = sqrt(|total| * 0.5) */
const root: Expression = {
  nodes: [
    { op: "input", index: 0, dtype: "f32" },
    { op: "constant", value: 0.5, dtype: "f32" },
    { op: "abs", args: [0], dtype: "f32" },
    { op: "mul", args: [2, 1], dtype: "f32" },
    { op: "sqrt", args: [3], dtype: "f32" },
  ],
  outputs: [4],
};

/** Worst error against the float64 loops; results must be identical on one and on three threads. */
function compare(
  reduction: Reduction,
  inputs: readonly { shape: Shape; dtype: LaneDType }[],
  kept: Shape,
): number {
  const arrays = inputs.map(({ shape, dtype }, i) => randomArray(shape, dtype, { seed: i + 1, scale: 0.6 }));
  const last = (reduction.epilogue ?? reduction.prologue).nodes.at(-1)?.dtype ?? "f32";
  const expected = hostArray({ shape: kept, dtype: last });
  evaluateReduction(reduction, arrays, expected);
  const errors = machines.map((features) => {
    const kernel = reduceKernel(reduction, inputs, features);
    const [whole] = runKernel(kernel, arrays, [{ shape: kept, dtype: last }]);
    const [split] = runKernel(kernel, arrays, [{ shape: kept, dtype: last }], { ranges: 3 });
    expect(split).toEqual(whole);
    return worstError(whole ?? expected, expected);
  });
  return Math.max(...errors);
}

const keptShape = (shape: Shape, axes: readonly number[]) => shape.filter((_, axis) => !axes.includes(axis));

describe("reduceKernel", () => {
  const cases: [number[], number[]][] = [
    [[7], [0]],
    [[1], [0]],
    [[], []],
    [[5, 37], [1]],
    [[5, 37], [0]],
    [
      [5, 37],
      [0, 1],
    ],
    [[200, 37], [0]],
    [[200, 1], [0]],
    [[130, 3], [0]],
    [[3, 70, 41], [1]],
    [
      [3, 70, 41],
      [0, 2],
    ],
    [
      [2, 3, 4, 5],
      [1, 3],
    ],
    [
      [2, 3, 4, 5],
      [0, 2],
    ],
    [[2, 3, 4, 5], []],
    [[0, 4], [0]],
    [[4, 0], [1]],
    [[3, 1, 5], [1]],
    [[2, 2100], [0]],
    [[70_001], [0]],
    [[2, 40_000], [1]],
  ];
  const combines: Combine[] = ["sum", "max", "min", "prod"];
  test.each(cases.flatMap(([shape, axes]) => combines.map((combine) => ({ shape, axes, combine }))))(
    "$combine of $shape over $axes",
    ({ shape, axes, combine }) => {
      const reduction: Reduction = { prologue: identity("f32"), combine, axes };
      expect(compare(reduction, [{ shape, dtype: "f32" }], keptShape(shape, axes))).toBeLessThan(2e-6);
    },
  );

  test.each(
    (["i32", "u32", "i8", "u8"] as const).flatMap((dtype) => combines.map((combine) => ({ dtype, combine }))),
  )("$combine of $dtype", ({ dtype, combine }) => {
    for (const axes of [[0], [1], [0, 1]]) {
      const reduction: Reduction = { prologue: identity(dtype), combine, axes };
      // Products leave float64's exact range: compare them where they stay small.
      const shape = combine === "prod" ? [3, 2] : [70, 9];
      expect(compare(reduction, [{ shape, dtype }], keptShape(shape, axes))).toBe(0);
    }
  });

  test.each(["f16", "bf16"] as const)("sums %s in f32 and rounds once", (dtype) => {
    for (const axes of [[0], [1]]) {
      const reduction: Reduction = { prologue: identity(dtype), combine: "sum", axes };
      const kept = keptShape([70, 90], axes);
      expect(compare(reduction, [{ shape: [70, 90], dtype }], kept)).toBeLessThan(
        dtype === "f16" ? 1e-3 : 8e-3,
      );
    }
  });

  test("any shape and axes, with broadcast inputs, a prologue and an epilogue", () => {
    const cases = fc.record({
      shape: fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 4 }),
      flags: fc.array(fc.boolean(), { minLength: 8, maxLength: 8 }),
      combine: fc.constantFrom<Combine>("sum", "max", "min"),
      hasEpilogue: fc.boolean(),
    });
    fc.assert(
      fc.property(cases, ({ shape, flags, combine, hasEpilogue }) => {
        const axes = shape.map((_, axis) => axis).filter((axis) => flags[axis]);
        const second = shape.map((n, axis) => (flags[4 + axis] ? 1 : n));
        const reduction = { prologue: product, combine, axes, ...(hasEpilogue && { epilogue: root }) };
        const inputs = [shape, second].map((s) => ({ shape: s, dtype: "f32" as const }));
        expect(compare(reduction, inputs, keptShape(shape, axes))).toBeLessThan(1e-6);
      }),
      { numRuns: 80 },
    );
  });

  test("a sum of a million elements keeps a relative error of 1e-7", () => {
    const x = hostArray({ shape: [1_000_003], dtype: "f32" });
    x.data.fill(0.1);
    const reduction: Reduction = { prologue: identity("f32"), combine: "sum", axes: [0] };
    const exact = Math.fround(0.1) * 1_000_003;
    for (const [shape, axes] of [
      [[1_000_003], [0]],
      [[1_000_003, 1], [0]],
    ] as const) {
      const kernel = reduceKernel(
        { ...reduction, axes },
        [{ shape, dtype: "f32" }],
        machines[1] ?? (machines[0] as never),
      );
      const [sum] = runKernel(kernel, [x], [{ shape: [1], dtype: "f32" }]);
      expect(Math.abs((sum?.data[0] ?? 0) / exact - 1)).toBeLessThan(1e-6);
    }
  });

  test("a NaN is the maximum and the minimum", () => {
    const x = randomArray([37], "f32");
    x.data[11] = Number.NaN;
    for (const combine of ["max", "min"] as const) {
      for (const features of machines) {
        const kernel = reduceKernel(
          { prologue: identity("f32"), combine, axes: [0] },
          [{ shape: [37], dtype: "f32" }],
          features,
        );
        expect(runKernel(kernel, [x], [{ shape: [], dtype: "f32" }])[0]?.data[0]).toBeNaN();
      }
    }
  });
});
