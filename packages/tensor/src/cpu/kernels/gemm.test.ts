import { describe, expect, test } from "vitest";
import { f16ToNumber, numberToBf16 } from "../../dtype.js";
import type { CpuFeatures } from "../kernel.js";
import { type GemmProblem, gemm } from "./gemm.js";
import { expectExact, multiply, random } from "./testing/multiply.js";
import { plain } from "./testing/run-kernel.js";

const wide: CpuFeatures = {
  relaxedSimd: true,
  revectorized: true,
  int8Dot: true,
  sharedMemory: false,
  threads: 4,
};

const layouts = [
  { transposeA: false, transposeB: false },
  { transposeA: false, transposeB: true },
  { transposeA: true, transposeB: false },
  { transposeA: true, transposeB: true },
] as const;

function problem(m: number, n: number, k: number, options: Partial<GemmProblem> = {}): GemmProblem {
  const a = { shape: options.transposeA ? [k, m] : [m, k], dtype: "f32" } as const;
  const b = { shape: options.transposeB ? [n, k] : [k, n], dtype: "f32" } as const;
  return { a, b, ...options };
}

describe.each([
  ["128-bit", plain],
  ["256-bit and fused", wide],
] as const)("gemm, %s", (_, features) => {
  describe.each(layouts)("transposeA $transposeA, transposeB $transposeB", (layout) => {
    test.each([
      [1, 1, 1],
      [1, 7, 5],
      [1, 24, 9],
      [2, 16, 8],
      [3, 8, 40],
      [3, 5, 259],
      [5, 33, 31],
      [8, 64, 64],
      [9, 17, 3],
      [12, 16, 4],
      [13, 17, 513],
      [64, 64, 64],
      [97, 131, 67],
      [401, 30, 21],
      [6, 200, 0],
    ])("%i x %i over %i", (m, n, k) => {
      expectExact(multiply(problem(m, n, k, layout), features));
    });
  });

  test("units may run one at a time and in chunks of scratch", () => {
    expectExact(multiply(problem(50, 70, 300), features, { rangeUnits: 1 }));
    const small = multiply(problem(50, 70, 300, { transposeB: true, maxPackedBytes: 20_000 }), features);
    expectExact(small);
    expect(small.names.length).toBeGreaterThan(6);
  });

  test.each([0x7c00, 0xfc00, 0x7e00, 0x7bff, 0xfbff])("a row times halves, one of which is %i", (bits) => {
    const base = problem(1, 24, 37, { transposeB: true });
    const halves = { ...base, b: { ...base.b, dtype: "f16" } } as const;
    for (const at of [0, 7, 36, 5 * 37 + 12, 24 * 37 - 1]) {
      const b = random(halves.b, 2);
      new Uint16Array(b.bytes.buffer)[at] = bits;
      b.values[at] = f16ToNumber(bits);
      const { result, expected } = multiply(halves, features, { b });
      expect([...result]).toEqual([...expected]);
    }
  });

  test.each(["f16", "bf16"] as const)("reads %s", (dtype) => {
    for (const rows of [1, 4, 20]) {
      for (const layout of layouts) {
        for (const columns of [19, 24]) {
          const base = problem(rows, columns, 37, layout);
          expectExact(multiply({ ...base, b: { ...base.b, dtype } }, features));
          expectExact(multiply({ ...base, a: { ...base.a, dtype }, b: { ...base.b, dtype } }, features));
        }
      }
    }
  });

  test.each([
    [[3], [3]],
    [[3], []],
    [[], [3]],
    [
      [2, 1, 2],
      [1, 3, 2],
    ],
    [
      [2, 4],
      [2, 1],
    ],
    [
      [2, 1, 3],
      [4, 1],
    ],
  ])("batches %j x %j", (batchA, batchB) => {
    for (const rows of [1, 3, 11]) {
      for (const layout of layouts) {
        const base = problem(rows, 18, 13, layout);
        const a = { ...base.a, shape: [...batchA, ...base.a.shape] };
        const b = { ...base.b, shape: [...batchB, ...base.b.shape] };
        expectExact(multiply({ ...base, a, b }, features));
      }
    }
  });
});

describe.each([
  ["128-bit", plain],
  ["256-bit and fused", wide],
] as const)("gemm with an epilogue, %s", (_, features) => {
  test.each([
    [1, 40, 9],
    [30, 40, 9],
  ])("adds a bias, applies relu and adds a residual: %i x %i over %i", (m, n, k) => {
    const base = problem(m, n, k);
    const { expected } = multiply(base, features);
    const inputs = [
      { dtype: "f32", shape: [n] },
      { dtype: "f32", shape: [m, n] },
    ] as const;
    const bias = random({ dtype: "f32", shape: [n] }, 5);
    const residual = random({ dtype: "f32", shape: [m, n] }, 6);
    const wanted = expected.map(
      (sum, i) => Math.max(0, sum + (bias.values[i % n] ?? 0)) + (residual.values[i] ?? 0),
    );
    const nodes = [
      { op: "input", index: 0, dtype: "f32" },
      { op: "input", index: 1, dtype: "f32" },
      { op: "input", index: 2, dtype: "f32" },
      { op: "add", args: [0, 1], dtype: "f32" },
      { op: "constant", value: 0, dtype: "f32" },
      { op: "max", args: [3, 4], dtype: "f32" },
      { op: "add", args: [5, 2], dtype: "f32" },
    ] as const;
    const fused = { ...base, epilogue: { expression: { nodes, outputs: [6] }, inputs } };
    const { result } = multiply(fused, features, { extra: [bias.bytes, residual.bytes] });
    expectExact({ result, expected: wanted });
  });

  test.each([1, 30])("rounds %i rows once to bf16", (m) => {
    const base = problem(m, 21, 40);
    const half = { ...base, a: { ...base.a, dtype: "bf16" }, b: { ...base.b, dtype: "bf16" } } as const;
    const { bits, expected } = multiply({ ...half, output: "bf16" }, features, { outputBytes: 2 });
    expect(bits).toEqual(Uint16Array.from(expected, numberToBf16));
  });
});

test("gives the same bits for every number of threads", () => {
  const one = multiply(problem(70, 90, 300), { ...wide, threads: 1 });
  const many = multiply(problem(70, 90, 300), { ...wide, threads: 8 }, { rangeUnits: 1 });
  expect(many.result).toEqual(one.result);
});

test("has no kernel for integers", () => {
  const ints = { shape: [2, 2], dtype: "i32" } as const;
  expect(gemm({ a: ints, b: ints }, plain)).toBeUndefined();
});
