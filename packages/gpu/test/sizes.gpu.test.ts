import { type Device, type DType, matmul, reference, type Tensor, tensor } from "@heddle/tensor";
import { afterAll, describe, expect, test } from "vitest";
import { findDevice } from "./find-device.js";

const { device, reason } = await findDevice();
afterAll(() => device?.dispose());

/** Small whole numbers that every dtype holds, without a short period. */
const wholeNumbers = (length: number) =>
  Float32Array.from({ length }, (_, i) => (i * 7 + Math.floor(i / 13)) % 11);

async function both(run: (device: Device) => Tensor, on: Device): Promise<[number[], number[]]> {
  const values = async (target: Device) => Array.from(await run(target).data());
  return [await values(on), await values(reference())];
}

if (device === undefined) test.skip(`awkward sizes on WebGPU: ${reason}`);
else {
  const dtypes: readonly DType[] = ["f32", "i32", "u32", "i8", "u8", "f16", "bf16", "bool"];
  describe.each(dtypes)("%s", (dtype) => {
    const of = (on: Device, shape: readonly number[]) =>
      tensor(on, wholeNumbers(shape.reduce((n, m) => n * m, 1)), { shape, dtype });
    test.each([1, 2, 3, 5, 127, 257, 1021])("%i elements", async (n) => {
      const [actual, expected] = await both((on) => {
        const x = of(on, [n]);
        return dtype === "bool" ? x.logicalNot() : x.add(x).sub(1);
      }, device);
      expect(actual).toEqual(expected);
    });
    test.each([
      [1, 1],
      [3, 7],
      [31, 5],
      [2, 129],
    ])("rows, columns and boxes of [%i, %i]", async (rows, columns) => {
      for (const run of [
        (x: Tensor) => x.transpose(),
        (x: Tensor) => x.narrow(1, Math.floor(columns / 3), columns),
        (x: Tensor) => x.reshape([rows, 1, columns]).broadcastTo([rows, 2, columns]),
        (x: Tensor) => x.cast("f32").sum({ axes: 1 }),
        (x: Tensor) => x.cast("f32").max({ axes: 0 }),
        (x: Tensor) => x.cast("i8").cast("f16"),
        (x: Tensor) => x.argmax({ axis: 1 }),
      ]) {
        const [actual, expected] = await both((on) => run(of(on, [rows, columns])), device);
        expect(actual).toEqual(expected);
      }
    });
  });

  test.each([
    ["f32", 65_535 * 256 + 3],
    ["u8", 65_535 * 256 * 4 + 5],
  ] as const)("more than 65,535 workgroups of %s", async (dtype, n) => {
    using x = tensor(device, dtype === "u8" ? new Uint8Array(n).fill(3) : new Float32Array(n).fill(3));
    using y = x.add(2);
    using tail = y.narrow(0, n - 3, n);
    expect([...(await tail.data())]).toEqual([5, 5, 5]);
    expect(y.dtype).toBe(dtype);
    if (dtype === "f32") {
      using total = y.sum();
      expect(await total.item()).toBeCloseTo(5 * n, -2);
    }
  });

  test.each([
    [1, 1, 1],
    [1, 257, 67],
    [3, 64, 1021],
    [5, 1, 3],
    [65, 17, 66],
    [127, 131, 3],
    [200, 64, 16],
  ])("matrix product %i x %i over %i", async (M, N, K) => {
    for (const [transposeA, transposeB] of [
      [false, false],
      [true, false],
      [false, true],
    ]) {
      const [actual, expected] = await both((on) => {
        const a = tensor(on, wholeNumbers(M * K), { shape: transposeA ? [K, M] : [M, K] });
        const b = tensor(on, wholeNumbers(N * K), { shape: transposeB ? [N, K] : [K, N] });
        return matmul(a, b, { transposeA, transposeB });
      }, device);
      expect(actual).toEqual(expected);
    }
  });

  test.each([
    [129, 130, 36],
    [129, 131, 7],
  ])("so many matrices of %i x %i over %i that tiles are large", async (M, N, K) => {
    for (const [transposeA, transposeB] of [
      [false, true],
      [true, false],
    ]) {
      const product = (on: Device) => {
        const a = tensor(on, wholeNumbers(25 * M * K), { shape: transposeA ? [25, K, M] : [25, M, K] });
        const b = tensor(on, wholeNumbers(N * K), { shape: transposeB ? [1, N, K] : [1, K, N] });
        return matmul(a, b, { transposeA, transposeB });
      };
      const [actual, expected] = [await product(device).data(), await product(reference()).data()];
      // Whole numbers, which f32 holds.
      expect(actual.findIndex((value, i) => value !== expected[i])).toBe(-1);
    }
  });

  test.each([1, 2, 64, 65, 300])("the %i largest of a row", async (k) => {
    const [actual, expected] = await both(
      (on) => tensor(on, wholeNumbers(900), { shape: [3, 300] }).topK(k).indices,
      device,
    );
    expect(actual).toEqual(expected);
  });

  test.each([1, 255, 256, 257, 1000])("running sums of %i", async (n) => {
    const [actual, expected] = await both((on) => tensor(on, wholeNumbers(n)).cumsum(), device);
    expect(actual).toEqual(expected);
  });
}
