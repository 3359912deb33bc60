import { expect, test } from "vitest";
import { cpu } from "../cpu/device.js";
import { tensor } from "../create.js";
import { defineOp } from "../op.js";
import { writeInto } from "../ops/indexing.js";
import type { Tensor } from "../tensor.js";
import { compile } from "./compile.js";

const twice = defineOp<{ readonly factor: number }>({
  name: "twice",
  infer: ([x]) => (x === undefined ? [] : [{ shape: x.shape, dtype: x.dtype }]),
  isShared: true,
  evaluate([x], [y], { factor }) {
    x?.data.forEach((value, i) => {
      if (y) y.data[i] = value * factor;
    });
  },
});
const sumOfTwice = defineOp<object>({
  name: "sumOfTwice",
  infer: ([x]) => (x === undefined ? [] : [{ shape: x.shape, dtype: x.dtype }]),
  reference: ([x, y]) => (x === undefined || y === undefined ? [] : [x.add(y)]),
  expand: ([x, y]) =>
    x === undefined || y === undefined ? undefined : [twice.call([x], { factor: 2 }).add(y)],
});

const launches = (compiled: { plans(): readonly { launches: readonly { name: string }[] }[] }) =>
  compiled.plans()[0]?.launches.map(({ name }) => name);

test("an op is traced as what it expands to, and equal calls of a shared op run once", () => {
  const device = cpu({ threads: 1 });
  const before = device.memory().buffers;
  const run = compile((x: Tensor, y: Tensor) => [sumOfTwice.call([x, y], {}), sumOfTwice.call([x, x], {})]);
  {
    using x = tensor(device, [1, 2]);
    using y = tensor(device, [10, 20]);
    const [first, second] = run(x, y);
    expect(Array.from(first?.dataSync() ?? [])).toEqual([12, 24]);
    expect(Array.from(second?.dataSync() ?? [])).toEqual([3, 6]);
    expect(launches(run)?.filter((name) => name === "twice")).toHaveLength(1);
    first?.dispose();
    second?.dispose();
  }
  run.dispose();
  expect(device.memory().buffers).toBe(before);
  device.dispose();
});

test("other parameters, or an input that was written to in between, are another call", () => {
  const device = cpu({ threads: 1 });
  const run = compile((x: Tensor) => {
    const a = twice.call([x], { factor: 2 });
    const b = twice.call([x], { factor: 3 });
    writeInto(x, b);
    return [a, b, twice.call([x], { factor: 2 })];
  });
  using x = tensor(device, [1, 2]);
  const results = run(x);
  expect(results.map((result) => Array.from(result.dataSync()))).toEqual([
    [2, 4],
    [3, 6],
    [6, 12],
  ]);
  for (const result of results) result.dispose();
  run.dispose();
  device.dispose();
});

test("a profile names every launch and its time", () => {
  const device = cpu({ threads: 1 });
  const run = compile((x: Tensor) => x.matmul(x).exp().sum());
  using x = tensor(device, [
    [1, 2],
    [3, 4],
  ]);
  const before = device.memory().buffers;
  const times = run.profile(x);
  expect(times.map(({ name }) => name)).toEqual(launches(run));
  expect(times.every(({ ms }) => ms >= 0)).toBe(true);
  using result = run(x);
  expect(result.shape).toEqual([]);
  run.dispose();
  expect(device.memory().buffers).toBeLessThanOrEqual(before + 1);
  device.dispose();
});
