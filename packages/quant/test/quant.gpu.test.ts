import { embedding, linear, randn, reference, tensor } from "@heddle/tensor";
import { afterAll, describe, expect, test } from "vitest";
import { findDevice } from "../../gpu/test/find-device.js";
import { type QuantTensor, quantBlockTypes, quantFromBlocks, quantizeTensor } from "../src/index.js";
import { randomBlocks } from "./random-blocks.js";

const { device, reason } = await findDevice();
afterAll(() => device?.dispose());

if (device === undefined) test.skip(`quantised weights on WebGPU: ${reason}`);
else {
  const exact = reference();

  /** Largest error of a product, in units of the sum of the sizes of its terms. */
  async function productError(weight: QuantTensor, rows: number): Promise<number> {
    if (device === undefined) return Number.NaN;
    const { inFeatures, outFeatures } = weight;
    using x = randn(device, [rows, inFeatures], { seed: rows });
    using y = linear(x, weight);
    using dense = weight.dequantize();
    expect(y.executedOn).toBe("wgsl");
    const place = async (from: typeof x) =>
      tensor(exact, Float64Array.from(await from.data()), { shape: from.shape });
    const [left, right] = [await place(x), await place(dense)];
    const expected = await left.matmul(right, { transposeB: true }).data();
    const sizes = await left.abs().matmul(right.abs(), { transposeB: true }).data();
    const got = Array.from(await y.data());
    expect(got.length).toBe(rows * outFeatures);
    return Math.max(
      ...got.map((value, i) => Math.abs(value - (expected[i] ?? 0)) / ((sizes[i] ?? 0) + 1e-30)),
    );
  }

  describe.each(quantBlockTypes)("%s", (type) => {
    const columns = type.endsWith("_K") ? 768 : 96;

    test("widens to the bits of the reference device", async () => {
      const blocks = randomBlocks(type, 23 * columns, 5);
      const before = device.memory().buffers;
      {
        using weight = quantFromBlocks(device, type, blocks, [23, columns]);
        using twin = quantFromBlocks(exact, type, blocks, [23, columns]);
        using dense = weight.dequantize();
        expect(dense.executedOn).toBe("wgsl");
        const expected = Float32Array.from(await twin.dequantize().data());
        expect(Array.from(await dense.data())).toEqual(Array.from(expected));
      }
      expect(device.memory().buffers).toBe(before);
    });

    test("multiplies few rows over the codes as they lie", async () => {
      for (const [out, rows] of [
        [40, 1],
        [16, 2],
        [23, 3],
        [17, 7],
      ] as const) {
        using weight = quantFromBlocks(device, type, randomBlocks(type, out * columns, rows), [out, columns]);
        expect(await productError(weight, rows)).toBeLessThanOrEqual(1e-6);
      }
    });
  });

  test.each([
    [4, 32, true],
    [4, 64, false],
    [4, 128, true],
    [8, 96, true],
    [8, 32, false],
  ] as const)("int%i in groups of %i, symmetric %s", async (bits, groupSize, isSymmetric) => {
    using dense = randn(device, [50, 384], { seed: 3 });
    using weight = await quantizeTensor(dense, { bits, groupSize, isSymmetric });
    for (const rows of [1, 5, 8]) expect(await productError(weight, rows)).toBeLessThanOrEqual(1e-6);
  });

  test("many blocks to a workgroup, more rows than a kernel keeps", async () => {
    for (const [out, columns, rows] of [
      [33, 8192, 1],
      [64, 576, 20],
    ] as const) {
      using weight = quantFromBlocks(device, "Q4_0", randomBlocks("Q4_0", out * columns, rows), [
        out,
        columns,
      ]);
      expect(await productError(weight, rows)).toBeLessThanOrEqual(1e-6);
    }
  });

  test("rows are looked up, and ids out of range give zeros", async () => {
    for (const type of ["Q4_0", "Q8_0", "Q6_K", "Q4_K"] as const) {
      using table = quantFromBlocks(device, type, randomBlocks(type, 20 * 256, 1), [20, 256]);
      using ids = tensor(device, Int32Array.of(19, 0, -1, 20, 7, 16), { shape: [2, 3] });
      using rows = embedding(ids, table);
      expect(rows.executedOn).toBe("wgsl");
      const [values, dense] = [await rows.data(), await table.dequantize().data()];
      const expected = [19, 0, undefined, undefined, 7, 16].flatMap((id) =>
        id === undefined ? new Array(256).fill(0) : Array.from(dense.slice(id * 256, (id + 1) * 256)),
      );
      expect(Array.from(values)).toEqual(expected);
    }
  });
}
