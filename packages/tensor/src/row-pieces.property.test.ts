import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  compile,
  cpu,
  disposeTree,
  embedding,
  flattenTree,
  linear,
  RowPieces,
  randn,
  reference,
  scope,
  split,
  type Tensor,
  tensor,
  valueAndGrad,
} from "./index.js";

describe.each([
  ["reference", () => reference()],
  ["cpu", () => cpu({ threads: 1 })],
] as const)("%s", (_name, make) => {
  test("a matrix in pieces is applied and looked up as the whole is", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 4 }),
        fc.integer({ min: 1, max: 8 }),
        fc.array(fc.integer({ min: -2, max: 40 }), { minLength: 1, maxLength: 6 }),
        async (sizes, width, ids) => {
          const device = make();
          const rows = sizes.reduce((sum, size) => sum + size, 0);
          const whole = randn(device, [rows, width], { seed: rows });
          const cut = new RowPieces(split(whole, sizes));
          const x = randn(device, [2, 3, width], { seed: 5 });
          expect(cut.shape).toEqual([rows, width]);
          const [y, expected] = [linear(x, cut), linear(x, whole)];
          expect(y.shape).toEqual(expected.shape);
          const wanted = await expected.data();
          for (const [i, value] of (await y.data()).entries())
            expect(value).toBeCloseTo(wanted[i] ?? Number.NaN, 5);
          for (const dtype of ["i32", "u32"] as const) {
            const at = tensor(
              device,
              ids.map((id) => (dtype === "u32" ? id >>> 0 : id)),
              { dtype },
            );
            const [found, sought] = [embedding(at, cut), embedding(at, whole)];
            expect(Array.from(await found.data())).toEqual(Array.from(await sought.data()));
            disposeTree([at, found, sought]);
          }
          disposeTree([whole, cut, x, y, expected]);
          expect(device.memory().buffers).toBe(0);
          device.dispose();
        },
      ),
      { numRuns: 25 },
    );
  });
});

test("its pieces are branches of a tree: trained each, freed together, compiled", async () => {
  const device = reference();
  const whole = randn(device, [7, 3], { seed: 1 });
  const x = randn(device, [4, 3], { seed: 2 });
  const ids = tensor(device, Int32Array.of(6, 0, 2));
  {
    using cut = new RowPieces(split(whole, [2, 4, 1]));
    expect(flattenTree({ cut }).paths).toEqual(["cut.piece0", "cut.piece1", "cut.piece2"]);
    const loss = (w: { readonly w: Tensor | RowPieces }) =>
      linear(x, w.w).square().sum().add(embedding(ids, w.w).mul(3).sum());
    const gradOf = (w: { readonly w: Tensor | RowPieces }) => valueAndGrad(loss)(w);
    const [pieces, one] = [gradOf({ w: cut }), gradOf({ w: whole })];
    const run = compile(gradOf);
    const compiled = run({ w: cut });
    expect(pieces.value.dataSync()[0]).toBeCloseTo(one.value.dataSync()[0] ?? Number.NaN, 9);
    const wanted = (one.grad.w as Tensor).dataSync();
    for (const { grad } of [pieces, compiled]) {
      const values = (flattenTree(grad).leaves as readonly Tensor[]).flatMap((leaf) =>
        Array.from(leaf.dataSync()),
      );
      expect(values.length).toBe(wanted.length);
      for (const [i, value] of values.entries()) expect(value).toBeCloseTo(wanted[i] ?? Number.NaN, 9);
    }
    disposeTree([pieces, one, compiled]);
    run.dispose();
  }
  disposeTree([whole, x, ids]);
  expect(device.memory().buffers).toBe(0);
  device.dispose();
});

test("pieces must have rows of one length", () => {
  const device = reference();
  expect(() => new RowPieces([])).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: RowPieces: pieces must be at least one and have rows of one length; got lengths []. Cut one matrix along its rows.]`,
  );
  scope(device, () => {
    const pieces = [randn(device, [2, 3], { seed: 1 }), randn(device, [2, 4], { seed: 2 })];
    expect(() => new RowPieces(pieces)).toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: RowPieces: pieces must be at least one and have rows of one length; got lengths [3, 4]. Cut one matrix along its rows.]`,
    );
    return undefined;
  });
  device.dispose();
});
