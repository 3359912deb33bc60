import { compile, cpu, type GgmlType, linear, randn, scope, swiGLU, type Tensor } from "@heddle/tensor";
import { afterAll, describe, expect, test } from "vitest";
import { randomBlocks } from "../../test/random-blocks.js";
import { quantFromBlocks } from "../quant-from-blocks.js";
import type { QuantTensor } from "../quant-tensor.js";

const types: readonly GgmlType[] = ["Q4_0", "Q4_1", "Q8_0", "Q4_K", "Q6_K"];
const columns = 512;

interface Weights {
  readonly a: QuantTensor;
  readonly b: QuantTensor;
}

interface Vectors {
  readonly x: Tensor;
  readonly bias: Tensor;
  readonly residual: Tensor;
}

describe.each([
  ["one thread", () => cpu({ threads: 1 })],
  ["two threads", () => cpu({ threads: 2 })],
  ["no relaxed SIMD", () => cpu({ threads: 1, disable: { relaxedSimd: true } })],
  ["no 256-bit vectors", () => cpu({ threads: 1, disable: { revectorized: true } })],
])("elementwise ops behind quantised products, %s", (_, create) => {
  const device = create();
  afterAll(() => device.dispose());

  /** Runs a function directly, op by op, and compiled; compares to the bit and counts the compiled products and other launches. */
  function launchesOf(
    { type, rows, out, other = type }: { type: GgmlType; rows: number; out: number; other?: GgmlType },
    fn: (weights: Weights, vectors: Vectors) => Tensor,
  ): string[] {
    const before = device.memory().buffers;
    const names = scope(device, () => {
      const weights = {
        a: quantFromBlocks(device, type, randomBlocks(type, out * columns, 1), [out, columns]),
        b: quantFromBlocks(device, other, randomBlocks(other, out * columns, 2), [out, columns]),
      };
      const vectors = {
        x: randn(device, [rows, 1, columns], { seed: rows }),
        bias: randn(device, [out], { seed: 2 }),
        residual: randn(device, [rows, 1, out], { seed: 3 }),
      };
      const compiled = compile((given: Vectors) => fn(weights, given));
      const expected = Array.from(fn(weights, vectors).dataSync());
      for (let call = 0; call < 2; call++) expect(Array.from(compiled(vectors).dataSync())).toEqual(expected);
      const [report] = compiled.plans();
      compiled.dispose();
      return report?.launches.map(({ name }) => name) ?? [];
    });
    expect(device.memory().buffers).toBe(before);
    return names;
  }

  const one = ["roundActivations", "quantProduct"];

  test.each(types)("%s: bias, scale and residual", (type) => {
    for (const [rows, out] of [
      [1, 48],
      [1, 32],
      [3, 16],
      [8, 48],
      [9, 32],
    ] as const) {
      const biased = ({ a }: Weights, { x, bias }: Vectors) => linear(x, a, bias);
      const whole = ({ a }: Weights, { x, bias, residual }: Vectors) =>
        residual.add(linear(x, a, bias).mul(0.5));
      expect(launchesOf({ type, rows, out }, biased)).toEqual(one);
      expect(launchesOf({ type, rows, out }, whole)).toEqual(one);
    }
  });

  test.each(types)("%s: a gate over two products of one input", (type) => {
    const gated = ({ a, b }: Weights, { x, residual }: Vectors) =>
      swiGLU(linear(x, a), linear(x, b)).add(residual);
    for (const [rows, out] of [
      [1, 48],
      [1, 32],
      [2, 16],
      [4, 48],
      [7, 32],
    ] as const)
      expect(launchesOf({ type, rows, out }, gated)).toEqual(one);
  });

  test("weights of two formats and products of two inputs stay two", () => {
    const gated = ({ a, b }: Weights, { x }: Vectors) => swiGLU(linear(x, a), linear(x, b));
    const size = { type: "Q4_0", rows: 2, out: 32 } as const;
    expect(
      launchesOf({ ...size, other: "Q8_0" }, gated).filter((name) => name === "quantProduct"),
    ).toHaveLength(2);
    const crossed = ({ a, b }: Weights, { x }: Vectors) => swiGLU(linear(x, a), linear(x.neg(), b));
    expect(launchesOf(size, crossed).filter((name) => name === "quantProduct")).toHaveLength(2);
  });

  test("an output that does not fill its last panel keeps a launch of its own for what follows", () => {
    const biased = ({ a }: Weights, { x, bias }: Vectors) => linear(x, a, bias);
    expect(launchesOf({ type: "Q4_0", rows: 2, out: 23 }, biased)).toEqual([...one, "fused"]);
  });
});
