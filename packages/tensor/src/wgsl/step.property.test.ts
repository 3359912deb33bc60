import fc from "fast-check";
import { expect, test } from "vitest";
import { bufferAt, gridOf, wgslStep } from "./step.js";

test("a grid holds all workgroups on axes that adapters allow, and few more", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 2 ** 31 }), (groups) => {
      const [x, y, z] = gridOf(groups);
      expect(Math.max(x, y, z)).toBeLessThanOrEqual(65_535);
      expect(z).toBe(1);
      expect(x * y).toBeGreaterThanOrEqual(groups);
      expect(x * y - groups).toBeLessThan(y);
    }),
    { examples: [[1], [65_535], [65_536], [65_537], [65_535 * 65_535]] },
  );
});

const stepOf = (groups: number) =>
  wgslStep({
    buffers: [{ name: "y", memory: bufferAt(0), dtype: "f32", access: "write" }],
    groups,
    body: "  store_y(group, 1.0);",
  });

test("workgroups beyond those that are wanted return before anything else", () => {
  const { code, grid, params } = stepOf(65_537);
  expect(grid).toEqual([32_769, 2, 1]);
  expect(params?.[0]).toBe(65_537);
  const main = code.slice(code.indexOf("fn main("));
  expect(main.indexOf("if (group >= P.groups) { return; }")).toBeLessThan(main.indexOf("store_y("));
  expect(main).toContain("let group = h_id.y * h_count.x + h_id.x;");
});

test("a grid of one axis has no other workgroups: they read no uniform", () => {
  const { code, grid, params } = stepOf(65_535);
  expect(grid).toEqual([65_535, 1, 1]);
  expect(params).toBeUndefined();
  expect(code).not.toContain("uniform");
});

test("fixed params are constants of the text, floats as they are rounded to f32", () => {
  const { code, params } = wgslStep({
    buffers: [{ name: "y", memory: bufferAt(0), dtype: "f32", access: "write" }],
    params: { columns: 2048, eps: { f32: 1e-5 } },
    isFixed: true,
    groups: 1,
    body: "  store_y(P.columns, P.eps);",
  });
  expect(params).toBeUndefined();
  expect(code).toContain("const P = Params(2048u, 0.000009999999747378752f);");
  expect(code).not.toContain("uniform");
});
