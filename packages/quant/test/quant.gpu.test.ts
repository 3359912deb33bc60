import { embedding, linear, randn, reference, tensor } from "@heddle/tensor";
import { afterAll, describe, expect, test } from "vitest";
import { findDevice } from "../../gpu/test/find-device.js";
import { type QuantTensor, quantBlockTypes, quantFromBlocks, quantizeTensor } from "../src/index.js";
import { int8Product } from "./int8-reference.js";
import { productError } from "./product-error.js";
import { randomBlocks } from "./random-blocks.js";

const { device, reason } = await findDevice();
afterAll(() => device?.dispose());

if (device === undefined) test.skip(`quantised weights on WebGPU: ${reason}`);
else {
  const exact = reference();

  /**
   * Holds a product against that of rounded x in float64. A quotient of WGSL may be off in its last bit, so that a number on
   * the edge between two codes falls to the other one: few outputs may differ by as much as that.
   */
  async function checkProduct(weight: QuantTensor, rows: number): Promise<void> {
    if (device === undefined) return;
    const { inFeatures, outFeatures } = weight;
    using x = randn(device, [rows, inFeatures], { seed: rows });
    using y = linear(x, weight);
    using dense = weight.dequantize();
    expect(y.executedOn).toBe("wgsl");
    const [xs, ws, got] = [Float32Array.from(await x.data()), await dense.data(), Array.from(await y.data())];
    expect(got.length).toBe(rows * outFeatures);
    const products: ReturnType<typeof int8Product>[] = [];
    const errors = got.map((value, i) => {
      const row = Math.floor(i / outFeatures);
      const expected =
        products[row] ?? int8Product(xs.subarray(row * inFeatures, (row + 1) * inFeatures), ws);
      products[row] = expected;
      const n = i % outFeatures;
      return Math.abs(value - (expected.y[n] ?? 0)) / ((expected.size[n] ?? 0) + 1e-30);
    });
    expect(errors.filter((error) => error > 1e-6).length).toBeLessThanOrEqual(errors.length / 20);
    expect(Math.max(...errors)).toBeLessThanOrEqual(1 / 127);
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
        await checkProduct(weight, rows);
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
    for (const rows of [1, 5, 8]) await checkProduct(weight, rows);
  });

  test("more blocks than a workgroup keeps", async () => {
    for (const columns of [8192, 32_768]) {
      using weight = quantFromBlocks(device, "Q4_0", randomBlocks("Q4_0", 33 * columns, 1), [33, columns]);
      await checkProduct(weight, 1);
    }
  });

  /** Differences in units of the sum of the products' sizes, against the widened weight in float64. */
  async function manyRowsError(weight: QuantTensor, rows: number): Promise<number> {
    if (device === undefined) return Number.NaN;
    const { inFeatures, outFeatures } = weight;
    using x = randn(device, [rows, inFeatures], { seed: rows });
    using y = linear(x, weight);
    using dense = weight.dequantize();
    expect(y.executedOn).toBe("wgsl");
    const values = { x: await x.data(), w: await dense.data(), y: await y.data() };
    expect(values.y.length).toBe(rows * outFeatures);
    return productError(values, [rows, outFeatures, inFeatures]);
  }

  describe("many rows are multiplied over the codes as they lie", () => {
    test.each(quantBlockTypes)("%s", async (type) => {
      const columns = type.endsWith("_K") ? 512 : 96;
      using weight = quantFromBlocks(device, type, randomBlocks(type, 70 * columns, 1), [70, columns]);
      expect(await manyRowsError(weight, 40)).toBeLessThan(1e-6);
    });

    test.each([
      [4, 32, true, 36],
      [4, 128, false, 384],
      [8, 96, true, 384],
      [8, 32, false, 100],
    ] as const)(
      "int%i in groups of %i, symmetric %s, %i inputs",
      async (bits, groupSize, isSymmetric, columns) => {
        using dense = randn(device, [50, columns], { seed: 3 });
        using weight = await quantizeTensor(dense, { bits, groupSize, isSymmetric });
        expect(await manyRowsError(weight, 37)).toBeLessThan(1e-6);
      },
    );
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
