import { compile, randn, reference, type Tensor, tensor, valueAndGrad } from "@heddle/tensor";
import { afterAll, describe, expect, test } from "vitest";
import { findDevice } from "../../gpu/test/find-device.js";
import { QuantStack, quantBlockTypes, quantFromBlocks, quantizeStack } from "../src/index.js";
import { randomBlocks } from "./random-blocks.js";

const { device, reason } = await findDevice();
afterAll(() => device?.dispose());

if (device === undefined) test.skip(`stacks of quantised weights on WebGPU: ${reason}`);
else {
  /** Holds each row's product against the widened matrix of its choice, in float64; a row that chose none is zeros. */
  async function checkRows(stack: QuantStack, choices: readonly number[]): Promise<void> {
    if (device === undefined) return;
    const [numMatrices, out, into] = stack.shape;
    using x = randn(device, [choices.length, into], { seed: choices.length });
    using which = tensor(device, Int32Array.from(choices));
    // What lay in the memory of the result before must not be seen.
    randn(device, [choices.length, out], { seed: 3 }).dispose();
    using y = stack.applyEach(x, which);
    expect(y.executedOn).toBe("wgsl");
    using wide = stack.dequantize();
    const [xs, ws, ys] = [await x.data(), await wide.data(), await y.data()];
    expect(ys.length).toBe(choices.length * out);
    for (const [at, got] of ys.entries()) {
      const [row, output] = [Math.floor(at / out), at % out];
      const choice = choices[row] ?? -1;
      let [sum, size] = [0, 0];
      for (let i = 0; i < into && choice >= 0 && choice < numMatrices; i++) {
        const term =
          (ws[(choice * out + output) * into + i] ?? Number.NaN) * (xs[row * into + i] ?? Number.NaN);
        sum += term;
        size += Math.abs(term);
      }
      expect(Math.abs(got - sum)).toBeLessThanOrEqual(1e-6 * size);
    }
  }

  const spread = (rows: number, numMatrices: number) =>
    Array.from({ length: rows }, (_, row) => (row * 5 + 2) % numMatrices);

  // Few and many rows, matrices that do not begin with a panel, widths with a rest behind the last block.
  describe.each([
    [3, 32, 96],
    [4, 20, 76],
    [1, 7, 36],
    [70, 5, 32],
    [2, 41, 544],
  ])("%d matrices of %d by %d", (numMatrices, out, into) => {
    test.each([
      { bits: 8, groupSize: 32 },
      { bits: 8, groupSize: 16, isSymmetric: false },
      { bits: 4, groupSize: 32 },
      { bits: 4, isSymmetric: false },
    ] as const)("%o", async (scheme) => {
      using dense = randn(device, [numMatrices, out, into], { seed: 1 });
      using stack = await quantizeStack(dense, scheme);
      for (const rows of [1, 3, 90]) await checkRows(stack, spread(rows, numMatrices));
    });
  });

  test.each(quantBlockTypes)("%s", async (type) => {
    const columns = type.endsWith("_K") ? 512 : 64;
    using stack = new QuantStack(
      quantFromBlocks(device, type, randomBlocks(type, 3 * 24 * columns, 7), [3 * 24, columns]),
      3,
    );
    for (const rows of [2, 11]) await checkRows(stack, spread(rows, 3));
  });

  test("rows that name no matrix get zeros; all rows may name the same one", async () => {
    using dense = randn(device, [3, 20, 64], { seed: 1 });
    using stack = await quantizeStack(dense, { bits: 4, groupSize: 32 });
    await checkRows(stack, [3, 1, -1]);
    await checkRows(stack, [3, 1, -1, 2 ** 31 - 1, 0, 2, -(2 ** 31)]);
    await checkRows(stack, new Array(300).fill(2));
  });

  test("half floats, a gradient to x, and a plan give the numbers of the reference device", async () => {
    const exact = reference();
    const choices = Int32Array.of(2, 0, 2, 1);
    const made = await Promise.all(
      [device, exact].map(async (on) => {
        using dense = randn(on, [3, 20, 64], { seed: 1, dtype: "f32" });
        const stack = await quantizeStack(dense, { bits: 8, groupSize: 32 });
        const [which, x] = [tensor(on, choices), randn(on, [4, 64], { seed: 2, dtype: "f32" })];
        const run = (rows: Tensor) => stack.applyEach(rows, which);
        const { grad } = valueAndGrad((rows: Tensor) => run(rows).square().sum())(x);
        const half = run(x.cast("f16"));
        return { y: compile(run)(x), grad, half };
      }),
    );
    const [got, twin] = made;
    expect(got?.half.dtype).toBe("f16");
    for (const [name, tolerance] of [
      ["y", 1e-4],
      ["grad", 1e-4],
      ["half", 5e-3],
    ] as const) {
      const [a, b] = [await got?.[name].data(), await twin?.[name].data()];
      const size = Math.max(...Array.from(b ?? [], Math.abs));
      for (const [i, value] of (b ?? []).entries())
        expect(Math.abs((a?.[i] ?? Number.NaN) - value)).toBeLessThanOrEqual(tolerance * size);
    }
  });
}
