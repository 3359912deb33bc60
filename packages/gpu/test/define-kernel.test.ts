import { cpu, HeddleError, randn, reference, type Tensor, tensor, valueAndGrad } from "@heddle/tensor";
import { describe, expect, test } from "vitest";
import { trainWithCustomActivation } from "../examples/custom-activation.js";
import { defineKernel, type KernelContext, type KernelOptions } from "../src/index.js";

const messageOf = async (options: object): Promise<string> => {
  try {
    await defineKernel({ name: "mine", ...options } as KernelOptions);
  } catch (error) {
    if (HeddleError.is(error)) return error.message;
    throw error;
  }
  return "";
};

test("an activation of one's own trains without any GPU", async () => {
  const device = cpu({ threads: 1 });
  const { first, last, executedOn } = await trainWithCustomActivation(device);
  expect(executedOn).toMatch(/^gpu\.js (webasm|webgl2?|headlessgl|cpu)$/);
  expect(last).toBeLessThan(first / 2);
  device.dispose();
});

test.each(["cpu", "webasm"] as const)("runs by gpu.js's mode %s, over axes and numbers", async (mode) => {
  const product = await defineKernel({
    name: "product",
    source(this: KernelContext, a: number[][], b: number[][], scale: number) {
      let sum = 0;
      for (let i = 0; i < (this.constants.n as number); i++) {
        sum += (a[this.thread.y]?.[i] as number) * (b[i]?.[this.thread.x] as number);
      }
      return sum * scale;
    },
    output: ([a, b]) => [a?.shape[0] ?? 0, b?.shape[1] ?? 0],
    constants: { n: 4 },
    mode,
  }).catch((error: Error) => error.message);
  // `?.` is refused: the same without it.
  expect(product).toContain("`?.`");
  const plain = await defineKernel({
    name: "product",
    source: `function (a, b, scale) {
      let sum = 0;
      for (let i = 0; i < this.constants.n; i++) { sum += a[this.thread.y][i] * b[i][this.thread.x]; }
      return sum * scale;
    }`,
    output: ([a, b]) => [a?.shape[0] ?? 0, b?.shape[1] ?? 0],
    constants: { n: 4 },
    mode,
  });
  const device = cpu({ threads: 1 });
  const a = randn(device, [3, 4], { seed: 1 });
  const b = randn(device, [4, 5], { seed: 2 });
  const c = plain(a, b, 2);
  expect(c.executedOn).toBe(`gpu.js ${mode}`);
  const wanted = a.matmul(b).mul(2).dataSync();
  for (const [i, value] of c.dataSync().entries()) expect(value).toBeCloseTo(wanted[i] ?? Number.NaN, 5);
  device.dispose();
});

test("a gradient that the vjp does not give is none; the one that it gives is that of finite differences", async () => {
  const cube = await defineKernel({
    name: "cube",
    source: "function (x) { return x[this.thread.x] * x[this.thread.x] * x[this.thread.x]; }",
    flat: true,
    vjp: ({ inputs: [x], grad }) => [x && grad.mul(x.square().mul(3))],
  });
  const device = reference();
  const x = tensor(device, [[0.5, -1.25, 2]]);
  const { grad } = valueAndGrad((p: Tensor) => cube(p).sum())(x);
  const wanted = [0.75, 4.6875, 12];
  for (const [i, value] of grad.dataSync().entries()) expect(value).toBeCloseTo(wanted[i] ?? Number.NaN, 6);
  const h = 2 ** -8;
  const at = (delta: number) => cube(x.add(delta)).dataSync()[2] ?? Number.NaN;
  expect((at(h) - at(-h)) / (2 * h)).toBeCloseTo(12, 3);
});

describe("sources that gpu.js would not translate faithfully are refused by name", () => {
  const factor = 3;
  test.each<[string, KernelOptions["source"]]>([
    ["arrow", (x: number[]) => x[0] ?? 0],
    [
      "closure",
      function (this: KernelContext, x: number[]) {
        return (x[this.thread.x] as number) * factor;
      },
    ],
    ["while", "function (x) { let i = 0; while (x[i] > 0) { i++; } return i; }"],
    ["for", "function (x, n) { let s = 0; for (let i = 0; i < n; i++) { s += x[i]; } return s; }"],
    ["destructuring", "function (x) { const [a] = x; return a; }"],
    ["??", "function (x) { return x[0] ?? 1; }"],
    ["async", "async function (x) { return x[0]; }"],
    ["default", "function (x = 3) { return x; }"],
    ["text", "not a function"],
  ])("%s", async (_, source) => {
    expect(await messageOf({ source })).toMatchSnapshot();
  });

  test("a limit of turns allows loops without a constant bound", async () => {
    const count = await defineKernel({
      name: "count",
      source:
        "function (x, n) { let s = 0; for (let i = 0; i < n; i++) { s += x[this.thread.x]; } return s; }",
      settings: { loopMaxIterations: 5000 },
    });
    const device = cpu({ threads: 1 });
    expect([...count(tensor(device, [1, 2]), 2000).dataSync()]).toEqual([2000, 4000]);
    device.dispose();
  });
});

test("calls are checked", async () => {
  const same = await defineKernel({
    name: "same",
    source: "function (x, b) { return x[this.thread.x] * b; }",
  });
  const device = cpu({ threads: 1 });
  const x = tensor(device, [1, 2]);
  expect(() => same(x)).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: same: a tensor or number for each parameter (x, b) is needed, at least one of them a tensor; got (tensor). Check the call.]`,
  );
  expect(() => same(x.cast("i32"), 1)).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: same: gpu.js computes in f32; got i32[2]. Convert with \`.cast("f32")\`.]`,
  );
  expect(() => same(x.reshape([1, 1, 1, 2]), 1)).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: same: gpu.js knows at most three axes; got [1, 1, 1, 2]. Reshape, or define the kernel with \`flat: true\`.]`,
  );
  expect(await messageOf({ source: "function (x) { return x[0]; }", loops: 3 })).toMatchInlineSnapshot(
    `"defineKernel: options are name, source, output, flat, constants, vjp, gpuJs, mode, settings; got loops. Put gpu.js's own settings into \`settings\`."`,
  );
  device.dispose();
});
