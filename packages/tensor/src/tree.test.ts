import { expect, test } from "vitest";
import {
  disposeTree,
  flattenTree,
  HeddleError,
  mapTree,
  reference,
  type TreeNode,
  treeNode,
  zeros,
} from "./index.js";

class Pair implements TreeNode {
  readonly first: unknown;
  readonly second: unknown;
  constructor(first: unknown, second: unknown) {
    this.first = first;
    this.second = second;
  }
  [treeNode]() {
    return {
      children: { first: this.first, second: this.second },
      rebuild: ({ first, second }: Readonly<Record<string, unknown>>) => new Pair(first, second),
    };
  }
}

test("paths name every leaf in key order, and rebuild goes back", () => {
  const tree = { layers: [{ w: 1, b: 2 }, { w: 3 }], head: new Pair(4, { deep: 5 }), none: null };
  const { leaves, paths, rebuild } = flattenTree<unknown, typeof tree>(tree);
  expect(paths).toEqual(["layers.0.w", "layers.0.b", "layers.1.w", "head.first", "head.second.deep", "none"]);
  expect(leaves).toEqual([1, 2, 3, 4, 5, null]);
  expect(rebuild(leaves)).toEqual(tree);
  expect(rebuild(leaves).head).toBeInstanceOf(Pair);
  expect(mapTree<unknown, typeof tree>(tree, (leaf, path) => `${path}=${leaf}`).layers[1]?.w).toBe(
    "layers.1.w=3",
  );
});

test("rebuild refuses another number of leaves", () => {
  expect(() => flattenTree<number, number[]>([1, 2]).rebuild([1])).toThrowError(HeddleError);
  expect(() => flattenTree<number, number[]>([1, 2]).rebuild([1])).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: rebuild: as many leaves as the tree had are needed; got 1, the tree had 2. Pass one value per leaf, in the order of \`leaves\`.]`,
  );
});

test("disposeTree frees every tensor and leaves the rest alone", () => {
  const device = reference();
  const tree = {
    a: zeros(device, [2]),
    list: [zeros(device, [3]), 7],
    pair: new Pair(zeros(device, []), "x"),
  };
  disposeTree(tree);
  expect(device.memory().buffers).toBe(0);
});
