import { cpu, linear, randn, reference, scope, type Tensor, zeros } from "@heddle/tensor";
import { expect, test } from "vitest";
import { observeInputs } from "./input-moments.js";
import { quantizeTensor } from "./quantize-tensor.js";
import { quantizeWeights } from "./quantize-weights.js";

/** x^T x of the columns from..to, by loops. */
async function expectedSums(xs: readonly Tensor[], from: number, to: number): Promise<number[]> {
  const size = to - from;
  const sums = new Array<number>(size * size).fill(0);
  for (const x of xs) {
    const [values, width] = [await x.data(), x.shape.at(-1) ?? 1];
    for (let row = 0; row < values.length; row += width)
      for (let i = 0; i < size; i++)
        for (let j = 0; j < size; j++)
          sums[i * size + j] =
            (sums[i * size + j] ?? 0) + (values[row + from + i] ?? 0) * (values[row + from + j] ?? 0);
  }
  return sums;
}

test.each([
  ["reference", () => reference()],
  ["cpu", () => cpu({ threads: 1 })],
] as const)("observeInputs sums x^T x over passes and windows, on %s", async (_, make) => {
  const device = make();
  const tree = {
    query: { weight: randn(device, [4, 80], { seed: 1 }), bias: zeros(device, [4]) },
    key: { weight: randn(device, [3, 80], { seed: 2 }) },
    norm: { weight: randn(device, [2, 80], { seed: 3 }) },
    embedding: randn(device, [9, 80], { seed: 4 }),
  };
  const observer = observeInputs(tree, { window: 64 });
  expect(observer.weights.norm.weight).toBe(tree.norm.weight);
  expect(observer.weights.embedding).toBe(tree.embedding);
  const xs = [randn(device, [2, 5, 80], { seed: 5 }), randn(device, [7, 80], { seed: 6 })];
  for (const x of xs) {
    const { query, key } = observer.weights;
    const same = scope(device, () => {
      const [got, wanted] = [linear(x, query.weight, query.bias), linear(x, tree.query.weight)];
      linear(x, key.weight);
      return { got, wanted };
    });
    await observer.collect();
    expect(await same.got.data()).toEqual(await same.wanted.data());
    same.got.dispose();
    same.wanted.dispose();
  }
  expect([...observer.moments.keys()]).toEqual(["query.weight", "key.weight"]);
  const query = observer.moments.get("query.weight");
  expect(observer.moments.get("key.weight")).toBe(query);
  expect([query?.width, query?.window, query?.sums.length]).toEqual([80, 64, 2]);
  for (const [at, [from, to]] of [[0, 64] as const, [64, 80] as const].entries()) {
    const expected = await expectedSums(xs, from, to);
    expect(query?.sums[at]?.length).toBe(expected.length);
    for (const [i, value] of expected.entries()) expect(query?.sums[at]?.[i]).toBeCloseTo(value, 3);
  }
  for (const x of xs) x.dispose();
  for (const weight of [tree.query.weight, tree.query.bias, tree.key.weight]) weight.dispose();
  tree.norm.weight.dispose();
  tree.embedding.dispose();
  expect(device.memory().buffers).toBe(0);
});

test("a window is a multiple of 32", () => {
  expect(() => observeInputs({}, { window: 40 })).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: observeInputs: window must be a multiple of 32; got 40. Leave it out for 1024.]`,
  );
});

test.each([
  { bits: 4, groupSize: 32 },
  { bits: 4, groupSize: 32, isSymmetric: false },
  { bits: 3 },
  { bits: 8, isSymmetric: false },
])("with moments, products with inputs like the observed are nearer: %o", async (scheme) => {
  const device = reference();
  const tree = { weight: randn(device, [24, 64], { seed: 1 }) };
  using mix = randn(device, [64, 64], { seed: 2 });
  using plain = randn(device, [400, 64], { seed: 3 });
  using x = scope(device, () => linear(plain, mix));
  const observer = observeInputs(tree);
  linear(x, observer.weights.weight).dispose();
  await observer.collect();
  const error = async (weight: { dequantize(): Tensor }) => {
    using difference = scope(device, () => linear(x, weight.dequantize().sub(tree.weight)));
    return Float64Array.from(await difference.data()).reduce((sum, value) => sum + value * value, 0);
  };
  using nearest = await quantizeTensor(tree.weight, scheme);
  const made = await quantizeWeights(tree, () => scheme, { moments: observer.moments });
  const calibrated = made.weight as unknown as typeof nearest;
  expect(calibrated.layout).toEqual(nearest.layout);
  expect(await error(calibrated)).toBeLessThan(0.85 * (await error(nearest)));
  calibrated.dispose();
  tree.weight.dispose();
});

test("moments of another weight are refused", async () => {
  const device = reference();
  using weight = randn(device, [4, 64], { seed: 1 });
  const moments = { width: 32, window: 1024, sums: [new Float32Array(32 * 32)] };
  await expect(quantizeTensor(weight, { bits: 4 }, { moments })).rejects.toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: quantizeTensor: moments must be of the weight's inputs; got moments of 32, 64 inputs. Observe this weight.]`,
  );
});
