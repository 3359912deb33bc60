import { describe, expect, test } from "vitest";
import { compile, reference, type Tensor, tensor, treeNode } from "../index.js";

/** A class of tree nodes around one weight. */
const nodeClass = () =>
  class Node {
    readonly weight: unknown;
    constructor(weight: unknown) {
      this.weight = weight;
    }
    [treeNode]() {
      return {
        children: { weight: this.weight },
        rebuild: (children: Readonly<Record<string, unknown>>) => new Node(children.weight),
      };
    }
  };
const [Doubled, Negated] = [nodeClass(), nodeClass()];

describe("plans", () => {
  const device = reference();
  const x = tensor(device, [1, 2, 3, 4, 5, 6], { shape: [2, 3] });

  test("are kept by shape, dtype, device and aliasing", () => {
    const fn = compile((a: Tensor, b: Tensor) => a.add(b));
    fn(x, x.mul(2));
    fn(x.mul(3), x.mul(2));
    expect(fn.plans()).toHaveLength(1);
    fn(x, x);
    expect(fn.plans()).toHaveLength(2);
    fn(x.reshape([3, 2]), x.reshape([3, 2]).mul(1));
    fn(x.cast("f32"), x.cast("f32"));
    expect(fn.plans()).toHaveLength(4);
    const other = reference();
    const far = tensor(other, [1, 2, 3, 4, 5, 6], { shape: [2, 3] });
    expect(fn(far, far.mul(2)).device).toBe(other);
    expect([...fn(far, far.mul(2)).dataSync()]).toEqual([3, 6, 9, 12, 15, 18]);
    expect(fn.plans()).toHaveLength(5);
    fn.dispose();
    expect(fn.plans()).toHaveLength(0);
    expect([...fn(x, x).dataSync()]).toEqual([2, 4, 6, 8, 10, 12]);
  });

  const distinct: readonly (readonly [string, unknown, unknown])[] = [
    ["numbers", 1, 2],
    ["the sign of zero", 0, -0],
    ["a number and its text", 1, "1"],
    ["strings that hold separators", ["a", "b"], ['a","b']],
    ["lists and objects", [1], { 0: 1 }],
    ["an empty list and an empty object", [], {}],
    ["a dotted key and a nested one", { "a.b": 1 }, { a: { b: 1 } }],
    ["undefined and null", undefined, null],
    ["classes of tree nodes", new Doubled(x), new Negated(x)],
    ["functions", () => 1, () => 2],
  ];
  test.each(distinct)("tell %s apart", (_, left, right) => {
    let traces = 0;
    const fn = compile((a: Tensor, _static: unknown) => {
      traces++;
      return a.add(1);
    });
    for (const value of [left, right, left, right]) fn(x, value);
    expect(traces).toBe(2);
    expect(fn.plans()).toHaveLength(2);
  });

  test("serve another tree of the same form", () => {
    const fn = compile((tree: { w: Tensor; name: string }) => tree.w.mul(2));
    fn({ w: x, name: "a" });
    fn({ w: x.neg(), name: "a" });
    expect(fn.plans()).toHaveLength(1);
  });
});
