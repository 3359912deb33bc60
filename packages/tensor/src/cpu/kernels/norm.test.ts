import { describe, expect, test } from "vitest";
import type { HostArray } from "../../reference/host-array.js";
import { layerNormGradKernel, layerNormKernel } from "./layer-norm.js";
import { rmsNormGradKernel, rmsNormKernel } from "./rms-norm.js";
import { machines, randomArray, runKernel, worstError } from "./testing/run-kernel.js";

const eps = 1e-5;
const mean = (x: number[]) => x.reduce((a, b) => a + b, 0) / x.length;

interface Moments {
  readonly normal: number[];
  readonly inverse: number;
}

/** The float64 twins: normalised row and its scale. */
const moments = {
  layerNorm(x: number[]): Moments {
    const centre = mean(x);
    const inverse = 1 / Math.sqrt(mean(x.map((v) => (v - centre) ** 2)) + eps);
    return { normal: x.map((v) => (v - centre) * inverse), inverse };
  },
  rmsNorm(x: number[]): Moments {
    const inverse = 1 / Math.sqrt(mean(x.map((v) => v * v)) + eps);
    return { normal: x.map((v) => v * inverse), inverse };
  },
};

function rowsOf(array: HostArray): number[][] {
  const columns = array.shape[1] ?? 1;
  return Array.from({ length: array.shape[0] ?? 0 }, (_, r) =>
    Array.from(array.data.subarray(r * columns, (r + 1) * columns)),
  );
}

const expectedOf = (shape: number[], values: number[]) => ({
  shape,
  dtype: "f32" as const,
  data: Float64Array.from(values),
});

/** Gradients in float64: dx, dweight, dbias. */
function gradients(
  kind: keyof typeof moments,
  { x, scale, dy }: { x: HostArray; scale: number[]; dy: HostArray },
) {
  const sums = { dweight: scale.map(() => 0), dbias: scale.map(() => 0) };
  const dyRows = rowsOf(dy);
  const dx = rowsOf(x).flatMap((row, r) => {
    const { normal, inverse } = moments[kind](row);
    const g = (dyRows[r] ?? []).map((v, i) => v * (scale[i] ?? 1));
    const along = mean(g.map((v, i) => v * (normal[i] ?? 0)));
    const centre = kind === "layerNorm" ? mean(g) : 0;
    for (const [i, v] of (dyRows[r] ?? []).entries()) {
      sums.dweight[i] = (sums.dweight[i] ?? 0) + v * (normal[i] ?? 0);
      sums.dbias[i] = (sums.dbias[i] ?? 0) + v;
    }
    return g.map((v, i) => inverse * (v - centre - (normal[i] ?? 0) * along));
  });
  return { dx, ...sums };
}

const shapes: [number, number][] = [
  [1, 1],
  [3, 7],
  [5, 64],
  [37, 33],
  [200, 19],
  [2, 1029],
];
const tolerances = { f32: 3e-6, f16: 4e-3, bf16: 3e-2 } as const;
const dtypes = ["f32", "f16", "bf16"] as const;

function makeArrays([rows, columns]: [number, number], dtype: (typeof dtypes)[number]) {
  const x = randomArray([rows, columns], dtype, { seed: 1 });
  const weight = randomArray([columns], dtype, { seed: 2 });
  const bias = randomArray([columns], dtype, { seed: 3 });
  return { x, weight, bias, dy: randomArray([rows, columns], dtype, { seed: 4 }) };
}

describe("norm kernels", () => {
  test.each(
    dtypes.flatMap((dtype) =>
      [
        [1, 1],
        [1, 0],
        [0, 1],
        [0, 0],
      ].map(([w, b]) => ({ dtype, w: !!w, b: !!b })),
    ),
  )("layerNorm and its gradient in $dtype, weight $w, bias $b", ({ dtype, w, b }) => {
    for (const [rows, columns] of shapes) {
      const { x, weight, bias, dy } = makeArrays([rows, columns], dtype);
      const spec = { rows, columns, dtype, eps, hasWeight: w, hasBias: b };
      const scale = w ? Array.from(weight.data) : new Array<number>(columns).fill(1);
      const y = rowsOf(x).flatMap((row) =>
        moments.layerNorm(row).normal.map((v, i) => v * (scale[i] ?? 1) + (b ? (bias.data[i] ?? 0) : 0)),
      );
      const grads = gradients("layerNorm", { x, scale, dy });
      const full = { shape: [rows, columns], dtype };
      for (const features of machines) {
        for (const ranges of [1, 3]) {
          const forward = [x, ...(w ? [weight] : []), ...(b ? [bias] : [])];
          const [out] = runKernel(layerNormKernel(spec, features), forward, [full], { ranges });
          expect(worstError(out ?? x, expectedOf([rows, columns], y))).toBeLessThan(tolerances[dtype]);
          const sums = [...(w ? [grads.dweight] : []), ...(b ? [grads.dbias] : [])];
          const types = [full, ...sums.map(() => ({ shape: [columns], dtype }))];
          const results = runKernel(
            layerNormGradKernel(spec, features),
            [x, ...(w ? [weight] : []), dy],
            types,
            { ranges },
          );
          [grads.dx, ...sums].forEach((values, k) => {
            const error = worstError(results[k] ?? x, expectedOf([], values));
            expect(error).toBeLessThan(tolerances[dtype] * (columns === 1 ? 400 : 10));
          });
        }
      }
    }
  });

  test.each(dtypes.flatMap((dtype) => [0, 1].map((offset) => ({ dtype, offset }))))(
    "rmsNorm and its gradient in $dtype, offset $offset",
    ({ dtype, offset }) => {
      for (const [rows, columns] of shapes) {
        const { x, weight, dy } = makeArrays([rows, columns], dtype);
        const spec = { rows, columns, dtype, eps, offset };
        const scale = Array.from(weight.data, (v) => v + offset);
        const y = rowsOf(x).flatMap((row) => moments.rmsNorm(row).normal.map((v, i) => v * (scale[i] ?? 1)));
        const { dx, dweight } = gradients("rmsNorm", { x, scale, dy });
        const full = { shape: [rows, columns], dtype };
        for (const features of machines) {
          for (const ranges of [1, 3]) {
            const [out] = runKernel(rmsNormKernel(spec, features), [x, weight], [full], { ranges });
            expect(worstError(out ?? x, expectedOf([], y))).toBeLessThan(tolerances[dtype]);
            const types = [full, { shape: [columns], dtype }];
            const results = runKernel(rmsNormGradKernel(spec, features), [x, weight, dy], types, { ranges });
            expect(worstError(results[0] ?? x, expectedOf([], dx))).toBeLessThan(tolerances[dtype] * 10);
            expect(worstError(results[1] ?? x, expectedOf([], dweight))).toBeLessThan(tolerances[dtype] * 10);
          }
        }
      }
    },
  );

  test("layerNorm keeps its digits far from 0", () => {
    const x = randomArray([1, 100], "f32");
    x.data.forEach((v, i) => {
      x.data[i] = Math.fround(v + 1000);
    });
    const expected = moments.layerNorm(Array.from(x.data)).normal;
    for (const features of machines) {
      const kernel = layerNormKernel(
        { rows: 1, columns: 100, dtype: "f32", eps, hasWeight: false, hasBias: false },
        features,
      );
      const [y] = runKernel(kernel, [x], [{ shape: [1, 100], dtype: "f32" }]);
      expect(worstError(y ?? x, expectedOf([], expected))).toBeLessThan(1e-4);
    }
  });
});
