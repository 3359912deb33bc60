import { describe, expect, test } from "vitest";
import type { HostArray } from "../../reference/host-array.js";
import type { LaneDType } from "./lanes.js";
import {
  logSoftmaxGradKernel,
  logSoftmaxKernel,
  logSumExpKernel,
  softmaxGradKernel,
  softmaxKernel,
} from "./softmax.js";
import { machines, randomArray, runKernel, worstError } from "./testing/run-kernel.js";

type Twin = (row: number[], second: number[]) => number[];

const logSumExp = (x: number[]) => {
  const max = Math.max(...x);
  return max + Math.log(x.reduce((sum, v) => sum + Math.exp(v - max), 0));
};
const sum = (x: number[]) => x.reduce((a, b) => a + b, 0);
const kernels = {
  softmax: {
    make: softmaxKernel,
    inputs: 1,
    twin: (x: number[]) => x.map((v) => Math.exp(v - logSumExp(x))),
  },
  logSoftmax: { make: logSoftmaxKernel, inputs: 1, twin: (x: number[]) => x.map((v) => v - logSumExp(x)) },
  logSumExp: { make: logSumExpKernel, inputs: 1, twin: (x: number[]) => [logSumExp(x)] },
  softmaxGrad: {
    make: softmaxGradKernel,
    inputs: 2,
    twin: (y: number[], g: number[]) =>
      y.map((v, i) => v * ((g[i] ?? 0) - sum(y.map((w, j) => w * (g[j] ?? 0))))),
  },
  logSoftmaxGrad: {
    make: logSoftmaxGradKernel,
    inputs: 2,
    twin: (y: number[], g: number[]) => y.map((v, i) => (g[i] ?? 0) - Math.exp(v) * sum(g)),
  },
} satisfies Record<string, { make: typeof softmaxKernel; inputs: number; twin: Twin }>;

/** Applies a twin to each row. */
function rowwise(twin: Twin, inputs: readonly HostArray[], rows: number): number[] {
  const row = (array: HostArray | undefined, r: number) => {
    const columns = (array?.data.length ?? 0) / rows;
    return Array.from(array?.data.subarray(r * columns, (r + 1) * columns) ?? []);
  };
  return Array.from({ length: rows }, (_, r) => twin(row(inputs[0], r), row(inputs[1], r))).flat();
}

const tolerance: Partial<Record<LaneDType, number>> = { f32: 1e-6, f16: 1e-3, bf16: 8e-3 };

describe("rows of", () => {
  const shapes: [number, number][] = [
    [1, 1],
    [3, 7],
    [5, 64],
    [2, 1031],
    [7, 3],
    [0, 4],
  ];
  const cases = Object.keys(kernels).flatMap((name) =>
    (["f32", "f16", "bf16"] as const).map((dtype) => ({ name: name as keyof typeof kernels, dtype })),
  );
  test.each(cases)("$name in $dtype match the float64 loops", ({ name, dtype }) => {
    const { make, inputs, twin } = kernels[name];
    for (const [rows, columns] of shapes) {
      const arrays = Array.from({ length: inputs }, (_, k) =>
        randomArray([rows, columns], dtype, { seed: k + 1, scale: 3 }),
      );
      const values = rowwise(twin, arrays, rows);
      const shape = name === "logSumExp" ? [rows] : [rows, columns];
      const expected = { shape, dtype: "f32" as const, data: Float64Array.from(values) };
      for (const features of machines) {
        const kernel = make({ rows, columns, dtype }, features);
        for (const ranges of [1, 3]) {
          const [y] = runKernel(kernel, arrays, [{ shape, dtype }], { ranges });
          expect(worstError(y ?? expected, expected)).toBeLessThan(
            (tolerance[dtype] ?? 0) * (name === "softmaxGrad" ? 40 : 4),
          );
        }
      }
    }
  });

  test("softmax survive huge scores and infinities, in place", () => {
    const x = randomArray([4, 5], "f32");
    x.data.set([1e38, -1e38, 0, 1e38, 3]);
    x.data.set([-Infinity, 2, -Infinity, 2, -Infinity], 5);
    x.data.set([-Infinity, -Infinity, -Infinity, -Infinity, -Infinity], 10);
    x.data.set([-200, -201, -400, -200, -1000], 15);
    for (const features of machines) {
      const kernel = softmaxKernel({ rows: 4, columns: 5, dtype: "f32" }, features);
      const [y] = runKernel(kernel, [x], [{ shape: [4, 5], dtype: "f32" }], { inPlace: { 0: 0 } });
      const rows = [0, 1, 2, 3].map((r) => Array.from(y?.data.subarray(r * 5, r * 5 + 5) ?? []));
      expect(rows[0]).toEqual([0.5, 0, 0, 0.5, 0]);
      expect(rows[1]).toEqual([0, 0.5, 0, 0.5, 0]);
      expect(rows[2]).toEqual(new Array(5).fill(Number.NaN));
      expect(rows[3]?.[1]).toBeCloseTo(Math.exp(-1) / (2 + Math.exp(-1)), 6);
      const lse = logSumExpKernel({ rows: 4, columns: 5, dtype: "f32" }, features);
      expect(runKernel(lse, [x], [{ shape: [4], dtype: "f32" }])[0]?.data[2]).toBe(-Infinity);
    }
  });
});
