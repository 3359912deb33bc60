import { reference, tensor } from "@heddle/tensor";
import { expect, test } from "vitest";
import { readGolden } from "../test/golden/read.js";
import { clipByNorm, clipByValue } from "./clip-gradients.js";

const golden = readGolden("optim/clip.safetensors");
const device = reference();
const load = (name: string) => {
  const { data, shape } = golden.get(name);
  return tensor(device, Float32Array.from(data), { shape, dtype: "f64" });
};
const grads = { a: load("a"), nested: [{ b: load("b") }] };

function expectGolden(got: typeof grads, name: string) {
  for (const [key, values] of [
    ["a", got.a.dataSync()],
    ["b", got.nested[0]?.b.dataSync() ?? []],
  ] as const) {
    golden.get(`${name}.${key}`).data.forEach((value, at) => {
      expect(Math.abs((values[at] ?? Number.NaN) - value)).toBeLessThanOrEqual(
        1e-6 * Math.abs(value) + 1e-12,
      );
    });
  }
}

test.each([
  ["l2", { maxNorm: 1 }],
  ["l1", { maxNorm: 3, order: 1 as const }],
  ["inf", { maxNorm: 0.5, order: Number.POSITIVE_INFINITY }],
  ["l2_no_op", { maxNorm: 1000 }],
])("%s norms clip as PyTorch's", (name, options) => {
  const { grads: clipped, norm } = clipByNorm(grads, options);
  expectGolden(clipped, name);
  expect(norm.dataSync()[0]).toBeCloseTo(golden.get(`${name}.total_norm`).data[0] ?? Number.NaN, 5);
});

test("values clip as PyTorch's", () => {
  expectGolden(clipByValue(grads, 0.7), "value");
});

test("a norm that cannot be", () => {
  expect(() => clipByNorm(grads, { maxNorm: 0 })).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: clipByNorm: maxNorm must be above 0; got 0. Leave clipping out to keep all gradients.]`,
  );
});
