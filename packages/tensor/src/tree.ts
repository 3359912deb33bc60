import { HeddleError } from "./error.js";

/** Nested plain objects and arrays with values at the leaves: how weights, gradients and batches are held. */
export type Tree<Leaf> = Leaf | readonly Tree<Leaf>[] | { readonly [key: string]: Tree<Leaf> };

/** A class instance that is a branch of trees, such as a quantised weight, has a method under this symbol. */
export const treeNode: unique symbol = Symbol.for("heddle.treeNode") as never;

/**
 * What a branch tells of itself: its children, and how to make a copy around other children. Whatever its results depend on
 * besides tensors (a scale, a block size) must be among the children too, so that `compile` sees when it differs.
 */
export interface TreeNode {
  [treeNode](): {
    readonly children: Readonly<Record<string, unknown>>;
    rebuild(children: Readonly<Record<string, unknown>>): unknown;
  };
}

export interface FlatTree<Leaf, Whole> {
  readonly leaves: readonly Leaf[];
  /** Dotted path of each leaf: `layers.0.attention.query`. */
  readonly paths: readonly string[];
  /** A tree of the same form around other leaves. */
  rebuild(leaves: readonly Leaf[]): Whole;
}

type Branch = {
  /** What makes it: Array, the class of a `TreeNode`, or nothing for a plain object. */
  readonly maker?: unknown;
  readonly keys: readonly string[];
  children(): unknown[];
  rebuild(children: readonly unknown[]): unknown;
};

function branchOf(value: unknown): Branch | undefined {
  if (Array.isArray(value)) {
    return {
      maker: Array,
      keys: value.map((_, i) => String(i)),
      children: () => value,
      rebuild: (children) => [...children],
    };
  }
  if (typeof value !== "object" || value === null) return undefined;
  if (treeNode in value) {
    const node = (value as TreeNode)[treeNode]();
    const keys = Object.keys(node.children);
    return {
      maker: value.constructor,
      keys,
      children: () => keys.map((key) => node.children[key]),
      rebuild: (children) => node.rebuild(Object.fromEntries(keys.map((key, i) => [key, children[i]]))),
    };
  }
  const prototype = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) return undefined;
  const entries = Object.entries(value);
  return {
    keys: entries.map(([key]) => key),
    children: () => entries.map(([, child]) => child),
    rebuild: (children) => Object.fromEntries(entries.map(([key], i) => [key, children[i]])),
  };
}

/** Copies a tree with each leaf replaced by `fn(leaf, path)`. Keys keep their order; class instances are leaves. */
export function mapTree<Leaf, Whole>(tree: Whole, fn: (leaf: Leaf, path: string) => Leaf, path = ""): Whole {
  const branch = branchOf(tree);
  if (branch === undefined) return fn(tree as unknown as Leaf, path) as unknown as Whole;
  const prefix = path === "" ? "" : `${path}.`;
  const children = branch
    .children()
    .map((child, i) => mapTree<Leaf, unknown>(child, fn, prefix + branch.keys[i]));
  return branch.rebuild(children) as Whole;
}

/** Lists the leaves of a tree in key order, with their paths and a way back. */
export function flattenTree<Leaf = unknown, Whole = unknown>(tree: Whole): FlatTree<Leaf, Whole> {
  const leaves: Leaf[] = [];
  const paths: string[] = [];
  mapTree<Leaf, Whole>(tree, (leaf, path) => {
    leaves.push(leaf);
    paths.push(path);
    return leaf;
  });
  return {
    leaves,
    paths,
    rebuild(others) {
      if (others.length !== leaves.length) {
        throw new HeddleError(
          "shape",
          `rebuild: as many leaves as the tree had are needed; got ${others.length}, the tree had ${leaves.length}. Pass one value per leaf, in the order of \`leaves\`.`,
          { got: others.length, expected: leaves.length },
        );
      }
      let next = 0;
      return mapTree<Leaf, Whole>(tree, () => others[next++] as Leaf);
    },
  };
}

/** What the parts of a tree look like in `formOf`. */
export interface FormText {
  leaf(value: unknown): string;
  /** Text of a class whose instances are branches. */
  maker(maker: unknown): string;
}

/** Text of a whole tree: equal for trees of one form whose leaves have equal texts, and for no others. */
export function formOf(tree: unknown, text: FormText): string {
  const branch = branchOf(tree);
  if (branch === undefined) return text.leaf(tree);
  const parts = branch.children().map((child) => formOf(child, text));
  if (branch.maker === Array) return `[${parts.join(",")}]`;
  const named = parts.map((part, i) => `${JSON.stringify(branch.keys[i])}:${part}`).join(",");
  return branch.maker === undefined ? `{${named}}` : `${text.maker(branch.maker)}(${named})`;
}

/** Frees every leaf that has a `dispose` method. */
export function disposeTree(tree: unknown): void {
  for (const leaf of flattenTree(tree).leaves) {
    if (typeof leaf === "object" && leaf !== null && "dispose" in leaf && typeof leaf.dispose === "function")
      leaf.dispose();
  }
}
