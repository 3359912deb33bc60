import { flattenTree, HeddleError, Tensor } from "@heddle/tensor";

/**
 * Names the tensors of a tree by their dotted paths: `{ layers: [{ scale }] }` gives `layers.0.scale`.
 *
 * Borrows the tensors. Leaves that are undefined are passed over.
 * @throws HeddleError "config" for other leaves, and for two leaves with one path
 */
export function namedTensors(tree: unknown): Record<string, Tensor> {
  const { leaves, paths } = flattenTree(tree);
  const named: Record<string, Tensor> = {};
  for (const [at, leaf] of leaves.entries()) {
    const path = paths[at] ?? "";
    if (leaf === undefined) continue;
    if (!(leaf instanceof Tensor)) {
      const message = `namedTensors: every leaf must be a Tensor; got ${typeof leaf} at "${path}". Keep plain values in \`state\`.`;
      throw new HeddleError("config", message, { path });
    }
    if (Object.hasOwn(named, path)) {
      const message = `namedTensors: paths must differ; got "${path}" twice. Use keys without dots.`;
      throw new HeddleError("config", message, { path });
    }
    named[path] = leaf;
  }
  return named;
}

/**
 * Puts named tensors into a tree of the form of `like`, whose tensors tell the shapes and dtypes to expect.
 *
 * @returns a tree that owns `named`'s tensors; `like` is borrowed
 * @throws HeddleError "format" listing every tensor that is missing, left over, or of another shape or dtype
 */
export function treeFromNamed<Whole>(like: Whole, named: Readonly<Record<string, Tensor>>): Whole {
  const expected = namedTensors(like);
  const problems: string[] = [];
  for (const [path, tensor] of Object.entries(expected)) {
    const found = named[path];
    if (found === undefined) problems.push(`missing ${path} ${typeText(tensor)}`);
    else if (typeText(found) !== typeText(tensor)) {
      problems.push(`${path} is ${typeText(found)}, expected ${typeText(tensor)}`);
    }
  }
  for (const path of Object.keys(named))
    if (!Object.hasOwn(expected, path)) problems.push(`left over ${path}`);
  if (problems.length > 0) {
    const message = `treeFromNamed: the tensors must fit the tree; got ${problems.join("; ")}. Load with the configuration it was saved with.`;
    throw new HeddleError("format", message, { problems });
  }
  const flat = flattenTree<unknown, Whole>(like);
  return flat.rebuild(
    flat.leaves.map((leaf, at) => (leaf === undefined ? undefined : named[flat.paths[at] ?? ""])),
  );
}

function typeText(tensor: Tensor): string {
  return `${tensor.dtype} [${tensor.shape.join(", ")}]`;
}
