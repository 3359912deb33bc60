import { type Device, type DType, matmul, randn, reference, tensor } from "@heddle/tensor";
import { afterAll, describe, expect, test } from "vitest";
import { findDevice } from "./find-device.js";

const { device, reason } = await findDevice({
  toggles: { enable: ["allow_unsafe_apis"] },
});
afterAll(() => device?.dispose());

interface Product {
  readonly shape: readonly [M: number, N: number, K: number];
  readonly a: DType;
  readonly b: DType;
}

/** Rounding of the result's dtype, in units of the result's own size. */
const roundings: Partial<Record<DType, number>> = { f32: 1e-6, f16: 2 ** -11, bf16: 2 ** -8 };

/** a [M, K] times b [N, K] transposed, from the same stored numbers on every device. */
async function product(on: Device, { shape: [M, N, K], a, b }: Product): Promise<Float64Array> {
  const place = (rows: number, dtype: DType, seed: number) => {
    const stored = randn(reference(), [rows, K], { seed }).cast(dtype).cast("f64");
    const shape = stored.shape;
    const values = Float64Array.from(stored.dataSync());
    return tensor(on, values, { shape, dtype: on.kind === "reference" ? "f64" : dtype });
  };
  const result = matmul(place(M, a, 1), place(N, b, 2), { transposeB: true });
  return Float64Array.from(await result.data());
}

if (device === undefined) test.skip(`matrix products on WebGPU: ${reason}`);
else {
  const pairs = [
    ["f32", "f16"],
    ["f32", "bf16"],
    ["f16", "f16"],
    ["bf16", "bf16"],
    ["f32", "f32"],
  ] as const;
  describe.each(pairs)("%s x %s", (a, b) => {
    test.each([
      [1, 2, 8],
      [1, 34, 264],
      [1, 6, 2056],
      [3, 10, 4096],
      [2, 130, 64],
      [8, 18, 520],
      [8, 18, 1032],
      [5, 7, 24],
      [9, 66, 40],
      [130, 132, 36],
      [128, 256, 64],
      [3, 5, 7],
    ])("[%i, K] x [%i, K]^T, K %i", async (M, N, K) => {
      const call: Product = { shape: [M, N, K], a, b };
      const [actual, expected] = [await product(device, call), await product(reference(), call)];
      const rounding = roundings[a] ?? 0;
      // Sums of K products of standard normals are about sqrt(K); f32 adds its own rounding.
      const bound = (value: number) => rounding * Math.abs(value) * 1.01 + 1e-6 * K + 1e-5;
      for (const [i, value] of expected.entries()) {
        expect(Math.abs((actual[i] ?? Number.NaN) - value)).toBeLessThanOrEqual(bound(value));
      }
    });
  });
}
