import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Copies, CopyRegion } from "../../op-forms.js";
import { evaluateCopies } from "../../ops/movement.js";
import { hostArray } from "../../reference/host-array.js";
import { type Shape, sizeOf, stridesOf } from "../../shape.js";
import { copyKernel } from "./copy.js";
import type { LaneDType } from "./lanes.js";
import { machines, randomArray, runKernel } from "./testing/run-kernel.js";

/** Compares with the plain loops for one dtype of each width, whole and in three ranges. */
function check(copies: Copies, inputShapes: readonly Shape[], outputShape: Shape): void {
  for (const dtype of ["f32", "bf16", "u8"] satisfies LaneDType[]) {
    const inputs = inputShapes.map((shape, i) => randomArray(shape, dtype, { seed: i + 1 }));
    const expected = hostArray({ shape: outputShape, dtype });
    evaluateCopies(copies, inputs, expected);
    for (const features of machines) {
      const sizes = { dtype, inputs: inputs.length, outputElements: sizeOf(outputShape) };
      for (const ranges of [1, 3]) {
        const [output] = runKernel(
          copyKernel(copies, sizes, features),
          inputs,
          [{ shape: outputShape, dtype }],
          { ranges },
        );
        expect(output?.data).toEqual(expected.data);
      }
    }
  }
}

function permuted(shape: Shape, permutation: readonly number[]): { copies: Copies; shape: number[] } {
  const result = permutation.map((axis) => shape[axis] ?? 1);
  const strides = stridesOf(shape);
  const region: CopyRegion = {
    input: 0,
    shape: result,
    inputOffset: 0,
    inputStrides: permutation.map((axis) => strides[axis] ?? 0),
    outputOffset: 0,
    outputStrides: stridesOf(result),
  };
  return { copies: { regions: [region] }, shape: result };
}

describe("copyKernel", () => {
  test.each([
    [
      [4, 4],
      [1, 0],
    ],
    [
      [1, 9],
      [1, 0],
    ],
    [
      [33, 70],
      [1, 0],
    ],
    [
      [3, 31, 37],
      [0, 2, 1],
    ],
    [
      [3, 31, 37],
      [2, 1, 0],
    ],
    [
      [2, 7, 3, 16],
      [0, 2, 1, 3],
    ],
    [
      [2, 7, 3, 150],
      [0, 2, 1, 3],
    ],
    [
      [5, 6, 7, 8],
      [3, 0, 2, 1],
    ],
    [
      [0, 3],
      [1, 0],
    ],
  ])("transposes %j by %j", (shape, permutation) => {
    const { copies, shape: result } = permuted(shape, permutation);
    check(copies, [shape], result);
  });

  test("transposes any shape by any permutation", () => {
    const cases = fc.integer({ min: 1, max: 4 }).chain((rank) =>
      fc.tuple(
        fc.array(fc.integer({ min: 1, max: 9 }), { minLength: rank, maxLength: rank }),
        fc.shuffledSubarray(
          Array.from({ length: rank }, (_, i) => i),
          { minLength: rank, maxLength: rank },
        ),
      ),
    );
    fc.assert(
      fc.property(cases, ([shape, permutation]) => {
        const { copies, shape: result } = permuted(shape, permutation);
        check(copies, [shape], result);
      }),
      { numRuns: 40 },
    );
  });

  test("slices with steps, also backwards", () => {
    const region: CopyRegion = {
      input: 0,
      shape: [3, 4],
      inputOffset: 9 + 8,
      inputStrides: [18, -2],
      outputOffset: 0,
      outputStrides: [4, 1],
    };
    check({ regions: [region] }, [[7, 9]], [3, 4]);
  });

  test("pads with a value", () => {
    const region: CopyRegion = {
      input: 0,
      shape: [3, 5],
      inputOffset: 0,
      inputStrides: [5, 1],
      outputOffset: 11 * 2 + 4,
      outputStrides: [11, 1],
    };
    check({ regions: [region], fill: 7 }, [[3, 5]], [6, 11]);
    check({ regions: [], fill: 1 }, [[3]], [5, 13]);
  });

  test("concatenates along an inner axis", () => {
    const part = (input: number, columns: number, at: number): CopyRegion => ({
      input,
      shape: [6, columns],
      inputOffset: 0,
      inputStrides: [columns, 1],
      outputOffset: at,
      outputStrides: [170, 1],
    });
    check(
      { regions: [part(0, 150, 0), part(1, 3, 150), part(2, 17, 153)] },
      [
        [6, 150],
        [6, 3],
        [6, 17],
      ],
      [6, 170],
    );
  });

  test("broadcasts along inner and outer axes", () => {
    const region = (shape: Shape, inputStrides: number[]): Copies => ({
      regions: [
        { input: 0, shape, inputOffset: 0, inputStrides, outputOffset: 0, outputStrides: stridesOf(shape) },
      ],
    });
    check(region([7, 21], [1, 0]), [[7, 1]], [7, 21]);
    check(region([7, 21], [0, 1]), [[21]], [7, 21]);
    check(region([40_000], [0]), [[]], [40_000]);
    check(region([], []), [[]], []);
  });

  test("copies long runs in blocks", () => {
    const { copies } = permuted([40_001], [0]);
    check(copies, [[40_001]], [40_001]);
  });
});
