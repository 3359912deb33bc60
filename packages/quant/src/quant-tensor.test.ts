import {
  compile,
  cpu,
  type Device,
  disposeTree,
  embedding,
  type GgmlType,
  type HostData,
  linear,
  mapTree,
  randn,
  reference,
  tensor,
  valueAndGrad,
} from "@heddle/tensor";
import { afterAll, describe, expect, test } from "vitest";
import { devices } from "../test/devices.js";
import { int8Product } from "../test/int8-reference.js";
import { randomBlocks } from "../test/random-blocks.js";
import { quantBlockTypes } from "./panels-from-blocks.js";
import { quantFromBlocks } from "./quant-from-blocks.js";
import { QuantTensor, quantFromParts } from "./quant-tensor.js";
import { everyMatrix, quantizeWeights } from "./quantize-weights.js";

const widthOf = (type: GgmlType) => (type.endsWith("_K") ? 512 : 96);

async function denseValues(weight: QuantTensor): Promise<HostData> {
  using dense = weight.dequantize();
  return dense.data();
}

describe.each(devices)("$name", ({ create }) => {
  const device = create();
  afterAll(() => device.dispose());
  const isExact = device.kind === "reference";

  test.each(quantBlockTypes)("%s: the product is that of the dequantised weight", async (type) => {
    const columns = widthOf(type);
    for (const [out, rows] of [
      [40, 1],
      [16, 2],
      [23, 3],
      [32, 4],
      [17, 7],
      [48, 9],
    ] as const) {
      const before = device.memory().buffers;
      {
        using weight = quantFromBlocks(device, type, randomBlocks(type, out * columns, 3 * rows), [
          out,
          columns,
        ]);
        using x = randn(device, [rows, columns], { seed: rows });
        using y = linear(x, weight);
        expect(y.shape).toEqual([rows, out]);
        if (!isExact) expect(y.executedOn).toBe("wasm");
        const [xs, ys, ws] = [await x.data(), await y.data(), await denseValues(weight)];
        for (let row = 0; row < rows; row++) {
          const input = Float32Array.from(xs.slice(row * columns, (row + 1) * columns));
          const { y: expected, size } = isExact ? exactProduct(xs, row, ws, columns) : int8Product(input, ws);
          for (let n = 0; n < out; n++) {
            const error = Math.abs((ys[row * out + n] ?? Number.NaN) - (expected[n] ?? 0));
            expect(error).toBeLessThanOrEqual((isExact ? 1e-12 : 1e-6) * (size[n] ?? 0) + 1e-30);
          }
        }
      }
      expect(device.memory().buffers).toBe(before);
    }
  });

  test("rows are looked up, and ids out of range give zeros", async () => {
    for (const type of ["Q4_0", "Q8_0", "Q6_K", "Q4_K"] as const) {
      const columns = widthOf(type);
      using table = quantFromBlocks(device, type, randomBlocks(type, 20 * columns, 1), [20, columns]);
      using ids = tensor(device, Int32Array.of(19, 0, 7, -1, 20, 16), { shape: [2, 3] });
      using rows = embedding(ids, table);
      expect(rows.shape).toEqual([2, 3, columns]);
      const values = await rows.data();
      const dense = await denseValues(table);
      [19, 0, 7].forEach((id, i) => {
        const row = Array.from(values.slice(i * columns, (i + 1) * columns));
        expect(row).toEqual(Array.from(dense.subarray(id * columns, (id + 1) * columns)));
      });
      expect(values.slice(3 * columns, 5 * columns).every((value) => value === 0)).toBe(true);
    }
  });

  test("gradients flow to x, through the exact weight", async () => {
    using weight = quantFromBlocks(device, "Q4_K", randomBlocks("Q4_K", 20 * 256, 9), [20, 256]);
    using x = randn(device, [3, 256], { seed: 4 });
    using factor = randn(device, [3, 20], { seed: 5 });
    const { value, grad } = valueAndGrad((input: typeof x) => linear(input, weight).mul(factor).sum())(x);
    const [got, g, w] = [await grad.data(), await factor.data(), await denseValues(weight)];
    for (let m = 0; m < 3; m++) {
      for (let k = 0; k < 256; k++) {
        let expected = 0;
        for (let n = 0; n < 20; n++) expected += (g[m * 20 + n] ?? 0) * (w[n * 256 + k] ?? 0);
        expect(got[m * 256 + k]).toBeCloseTo(expected, 4);
      }
    }
    disposeTree([value, grad]);
  });

  test("a NaN or an infinity in x is not hidden", async () => {
    using weight = quantFromBlocks(device, "Q4_0", randomBlocks("Q4_0", 20 * 64, 9), [20, 64]);
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY]) {
      const values = Array.from({ length: 128 }, (_, i) => (i === 70 ? bad : i));
      using x = tensor(device, values, { shape: [2, 64] });
      using y = linear(x, weight);
      const got = await y.data();
      expect(got.slice(0, 20).every(Number.isFinite)).toBe(true);
      expect(got.slice(20).some(Number.isFinite)).toBe(false);
    }
  });

  test("half floats are widened and rounded back", async () => {
    if (isExact) return; // the reference device computes in float64 only
    using weight = quantFromBlocks(device, "Q8_0", randomBlocks("Q8_0", 20 * 64, 9), [20, 64]);
    using x = randn(device, [3, 64], { seed: 4 });
    using half = x.cast("f16");
    using y = linear(half, weight);
    expect(y.dtype).toBe("f16");
    using expected = linear(half.cast("f32"), weight);
    const values = await expected.data();
    (await y.data()).forEach((value, i) => {
      const expectedValue = values[i] ?? 0;
      expect(Math.abs(value - expectedValue)).toBeLessThanOrEqual(Math.abs(expectedValue) * 2 ** -11);
    });
  });

  test("compiled, it gives the same numbers", async () => {
    using weight = quantFromBlocks(device, "Q4_0", randomBlocks("Q4_0", 48 * 64, 2), [48, 64]);
    using ids = tensor(device, Int32Array.of(3, 47));
    const fn = (rows: typeof ids) => linear(embedding(rows, weight), weight);
    const compiled = compile(fn);
    using eager = fn(ids);
    using replayed = compiled(ids);
    expect(await replayed.data()).toEqual(await eager.data());
    const asArgument = compile((tree: { weight: QuantTensor }, rows: typeof ids) =>
      linear(embedding(rows, tree.weight), tree.weight),
    );
    using again = asArgument({ weight }, ids);
    expect(await again.data()).toEqual(await eager.data());
    compiled.dispose();
    asArgument.dispose();
  });

  test("a tree is quantised by a recipe, and nothing leaks", async () => {
    const before = device.memory().buffers;
    const tree = {
      norm: randn(device, [64], { seed: 1 }),
      layers: [
        { weight: randn(device, [40, 64], { seed: 2 }) },
        { weight: randn(device, [8, 40], { seed: 3 }) },
      ],
    };
    const quantised = await quantizeWeights(
      tree,
      everyMatrix({ bits: 4, groupSize: 32 }, { except: /layers.1/ }),
    );
    expect(quantised.layers[0]?.weight).toBeInstanceOf(QuantTensor);
    expect(quantised.layers[1]?.weight).not.toBeInstanceOf(QuantTensor);
    const doubled = mapTree(quantised, (leaf) => leaf);
    expect(doubled.layers[0]?.weight).toBeInstanceOf(QuantTensor);
    disposeTree(tree);
    expect(await quantised.norm.data()).toHaveLength(64);
    disposeTree(quantised);
    expect(device.memory().buffers).toBe(before);
  });
});

function exactProduct(xs: ArrayLike<number>, row: number, ws: HostData, columns: number) {
  const y = new Float64Array(ws.length / columns);
  const size = new Float64Array(y.length);
  for (const n of y.keys()) {
    for (let k = 0; k < columns; k++) {
      const term = (xs[row * columns + k] ?? 0) * (ws[n * columns + k] ?? 0);
      y[n] = (y[n] ?? 0) + term;
      size[n] = (size[n] ?? 0) + Math.abs(term);
    }
  }
  return { y, size };
}

test("engines with and without the relaxed instructions and 256-bit vectors, one and two threads: the same bits", async () => {
  const kinds: readonly (() => Device)[] = [
    () => cpu({ threads: 1 }),
    () => cpu({ threads: 2 }),
    () => cpu({ threads: 1, disable: { relaxedSimd: true } }),
    () => cpu({ threads: 1, disable: { revectorized: true } }),
    () => cpu({ threads: 1, disable: { int8Dot: true } }),
    () => cpu({ threads: 2, disable: { relaxedSimd: true, revectorized: true } }),
  ];
  for (const type of quantBlockTypes) {
    // 32 or 29 blocks: a row alone reads ahead twice for 14 and once for the rest.
    const columns = type.endsWith("_K") ? 1024 : 928;
    const results: Uint8Array[] = [];
    for (const make of kinds) {
      using device = Object.assign(make(), { [Symbol.dispose]() {} });
      using weight = quantFromBlocks(device, type, randomBlocks(type, 100 * columns, 5), [100, columns]);
      using x = randn(device, [5, columns], { seed: 6 });
      using y = linear(x, weight);
      results.push(await y.bytes());
      using first = x.slice([0, 0], [1, columns]);
      using alone = linear(first, weight);
      expect(await alone.bytes()).toEqual(results.at(-1)?.subarray(0, 400));
      device.dispose();
    }
    for (const other of results.slice(1)) expect(other).toEqual(results[0]);
  }
});

test("the reference composition of a device without kernels equals the loops", async () => {
  // The reference device prefers its loops; gradients through `dequantize` and devices without kernels use the composition.
  const device = reference();
  const { dequantizeOp, takeRowsOp } = await import("./ops/dequantize.js");
  for (const type of quantBlockTypes) {
    const columns = widthOf(type);
    using weight = quantFromBlocks(device, type, randomBlocks(type, 20 * columns, 8), [20, columns]);
    const params = { ...weight.layout, dtype: "f32" as const };
    const parts = Object.values(weight.parts);
    const [composed] = dequantizeOp.spec.reference?.(parts, params) ?? [];
    expect(Array.from((await composed?.data()) ?? [])).toEqual(
      Array.from(await denseValues(weight), Math.fround),
    );
    using ids = tensor(device, Int32Array.of(19, -1, 2, 20));
    const [rows] = takeRowsOp.spec.reference?.([ids, ...parts], params) ?? [];
    using expected = takeRowsOp.call([ids, ...parts], params);
    // + 0: an id out of range gives zeros of either sign.
    const unsigned = (values: Iterable<number>) => Array.from(values, (value) => value + 0);
    expect(unsigned((await rows?.data()) ?? [])).toEqual(unsigned(await expected.data()));
  }
});

test("parts must be those of the layout", () => {
  const device = reference();
  using weight = quantFromBlocks(device, "Q4_0", randomBlocks("Q4_0", 32 * 32, 1), [32, 32]);
  using again = quantFromParts(weight.layout, weight.parts);
  expect(again.shape).toEqual([32, 32]);
  expect(() =>
    quantFromParts({ ...weight.layout, inFeatures: 64 }, weight.parts),
  ).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: quantFromParts: codes must be u8 [2, 2, 256]; got u8 [2, 1, 256]. Pass the tensors of one weight with its layout.]`,
  );
  using x = randn(device, [2, 33], { seed: 0 });
  expect(() => linear(x, weight)).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: linear: x must end in the weight's inFeatures; got x [2, 33], a quantised weight [32, 32]. Reshape x.]`,
  );
});
