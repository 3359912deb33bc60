import { compile, cpu, disposeTree, randn, reference, Tensor, tensor, valueAndGrad } from "@heddle/tensor";
import { describe, expect, test } from "vitest";
import { QuantStack, quantizeStack } from "./quant-stack.js";
import type { QuantScheme } from "./quantize-tensor.js";
import { everyMatrix, quantizeWeights } from "./quantize-weights.js";

const schemes: readonly QuantScheme[] = [
  { bits: 8, groupSize: 32 },
  { bits: 8, groupSize: 16, isSymmetric: false },
  { bits: 4, groupSize: 64 },
  { bits: 4, isSymmetric: false },
];

describe.each([
  { name: "reference", make: () => reference(), tolerance: 1e-12 },
  { name: "cpu", make: () => cpu({ threads: 2 }), tolerance: 2e-6 },
])("$name", ({ name, make, tolerance }) => {
  // Outputs that are no multiple of a panel or of a slice, widths with a rest behind the last block, more matrices than units.
  test.each([
    [3, 20, 96],
    [4, 16, 75],
    [1, 7, 34],
    [2, 41, 32],
    [70, 5, 32],
  ])("%d matrices of %d by %d: each row meets its own, dequantised", async (numMatrices, out, into) => {
    const device = make();
    for (const scheme of schemes) {
      using dense = randn(device, [numMatrices, out, into], { seed: 1 });
      using stack = await quantizeStack(dense, scheme);
      expect(stack.shape).toEqual([numMatrices, out, into]);
      using wide = stack.dequantize();
      const ws = await wide.data();
      for (const rows of [1, 9]) {
        const chosen = Int32Array.from({ length: rows }, (_, row) => (row * 5 + 2) % numMatrices);
        using which = tensor(device, chosen);
        using x = randn(device, [rows, into], { seed: 2 });
        using y = stack.applyEach(x, which);
        expect(y.shape).toEqual([rows, out]);
        if (name === "cpu") expect(y.executedOn).toBe("wasm");
        const [xs, ys] = [await x.data(), await y.data()];
        for (const [at, got] of ys.entries()) {
          const [row, output] = [Math.floor(at / out), at % out];
          const from = ((chosen[row] ?? 0) * out + output) * into;
          let [sum, size] = [0, 0];
          for (let i = 0; i < into; i++) {
            const part = (ws[from + i] ?? Number.NaN) * (xs[row * into + i] ?? Number.NaN);
            sum += part;
            size += Math.abs(part);
          }
          expect(Math.abs(got - sum)).toBeLessThanOrEqual(tolerance * size);
        }
      }
    }
    expect(device.memory().buffers).toBe(0);
    device.dispose();
  });

  test.each([1, 9])("rows that name no matrix get zeros, %d of them", async (rows) => {
    const device = make();
    using dense = randn(device, [3, 20, 64], { seed: 1 });
    using stack = await quantizeStack(dense, { bits: 4, groupSize: 32 });
    const numbers = Int32Array.from({ length: rows }, (_, row) => [3, 1, -1, 2 ** 31 - 1][row % 4] ?? 0);
    using which = tensor(device, numbers);
    using x = randn(device, [rows, 64], { seed: 2 });
    // What lay in the memory of the result before must not be seen.
    randn(device, [rows, 20], { seed: 3 }).dispose();
    using y = stack.applyEach(x, which);
    const ys = await y.data();
    for (const [row, number] of numbers.entries()) {
      const isZero = Array.from(ys.slice(row * 20, row * 20 + 20)).every((value) => value === 0);
      expect(isZero, `row ${row}`).toBe(number !== 1);
    }
  });

  test("gradients flow to x; compiled, it gives the same numbers; half floats are widened", async () => {
    const device = make();
    using dense = randn(device, [3, 20, 64], { seed: 1 });
    using stack = await quantizeStack(dense, { bits: 8, groupSize: 32 });
    using which = tensor(device, Int32Array.of(2, 0, 2, 1));
    using x = randn(device, [4, 64], { seed: 2 });
    const run = (weight: QuantStack, rows: typeof x) => weight.applyEach(rows, which);
    using eager = run(stack, x);
    const compiled = compile(run);
    using replayed = compiled(stack, x);
    expect(await replayed.data()).toEqual(await eager.data());
    compiled.dispose();
    const { value, grad } = valueAndGrad((rows: typeof x) => run(stack, rows).sum())(x);
    using wide = stack.dequantize();
    using columns = wide.sum({ axes: 1 });
    const [got, sums] = [await grad.data(), await columns.data()];
    for (const [row, matrix] of [2, 0, 2, 1].entries())
      for (let i = 0; i < 64; i++) expect(got[row * 64 + i]).toBeCloseTo(sums[matrix * 64 + i] ?? 0, 4);
    disposeTree([value, grad]);
    if (name === "cpu") {
      using half = x.cast("f16");
      using y = run(stack, half);
      expect(y.dtype).toBe("f16");
    }
    device.dispose();
  });
});

test("a stack stays quantised in memory, and shapes and types that do not fit are errors", async () => {
  const device = cpu({ threads: 1 });
  using dense = randn(device, [4, 32, 64], { seed: 1 });
  const before = device.memory().bytes;
  using stack = await quantizeStack(dense, { bits: 4, groupSize: 32 });
  // Half a byte a weight, and a scale of 4 bytes for each 32.
  expect(stack.byteLength).toBe(4 * 32 * 64 * (0.5 + 4 / 32));
  expect(device.memory().bytes - before).toBe(stack.byteLength);
  using x = randn(device, [2, 64], { seed: 2 });
  using which = tensor(device, Int32Array.of(0, 1));
  const short = x.narrow(1, 0, 32);
  await expect(quantizeStack(x, { bits: 8 })).rejects.toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: quantizeStack: the weight must be a stack of matrices [X, out, in]; got [2, 64]. Use quantizeTensor for one matrix.]`,
  );
  expect(() => stack.applyEach(short, which)).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: QuantStack: x must be [R, 64] and which [R]; got [2, 32] and [2]. Reshape the rows to two axes.]`,
  );
  expect(() => stack.applyEach(x, x)).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: QuantStack: x must be a float and which i32; got f32 and f32. Cast them.]`,
  );
  short.dispose();
});

test("a recipe for every matrix takes stacks of experts, and no other weights of three axes", async () => {
  const device = reference();
  const stack = randn(device, [2, 8, 32], { seed: 1 });
  const tree = {
    experts: { up: { weight: stack, bias: stack.sum({ axes: 2 }) } },
    conv: stack,
    mix: stack.narrow(0, 0, 1),
  };
  const { experts, conv, mix } = await quantizeWeights(tree, everyMatrix({ bits: 8 }));
  expect(experts.up.weight).toBeInstanceOf(QuantStack);
  for (const dense of [experts.up.bias, conv, mix]) expect(dense).toBeInstanceOf(Tensor);
});
