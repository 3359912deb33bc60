import { posix } from "node:path";
import type { Problem } from "./problem.ts";
import type { SourceFile } from "./source-file.ts";

/**
 * No file reaches itself through relative imports. Type imports do not count: they are erased, and an interface may
 * name the type of what it holds. Reports each knot of files once.
 */
export function checkCycles(files: readonly SourceFile[]): Problem[] {
  const paths = new Set(files.map(({ path }) => path));
  const edges = new Map(files.map((file) => [file.path, targetsOf(file, paths)]));
  return knots(edges).map((knot): Problem => {
    const members = [...knot].sort();
    const text = `files import each other in a cycle: ${members.join(", ")}.`;
    return { rule: "cycle", path: members[0] ?? "", line: 0, text };
  });
}

function targetsOf({ path, imports }: SourceFile, paths: ReadonlySet<string>): string[] {
  return imports.flatMap(({ specifier, isType }) => {
    if (isType || !specifier.startsWith(".")) return [];
    const base = posix.join(posix.dirname(path), specifier);
    const candidates = [base, base.replace(/\.js$/, ".ts"), base.replace(/\.jsx?$/, ".tsx")];
    return candidates.find((candidate) => paths.has(candidate)) ?? [];
  });
}

/** Tarjan's strongly connected components of more than one node (or a node that imports itself). */
function knots(edges: ReadonlyMap<string, readonly string[]>): string[][] {
  const order = new Map<string, number>();
  const lowest = new Map<string, number>();
  const stack: string[] = [];
  const found: string[][] = [];
  const visit = (node: string): number => {
    order.set(node, order.size);
    lowest.set(node, order.size - 1);
    stack.push(node);
    for (const next of edges.get(node) ?? []) {
      const reach = order.has(next) ? (stack.includes(next) ? order.get(next) : undefined) : visit(next);
      lowest.set(node, Math.min(lowest.get(node) ?? 0, reach ?? Number.POSITIVE_INFINITY));
    }
    if (lowest.get(node) === order.get(node)) {
      const component = stack.splice(stack.indexOf(node));
      if (component.length > 1 || edges.get(node)?.includes(node)) found.push(component);
    }
    return lowest.get(node) ?? 0;
  };
  for (const node of edges.keys()) if (!order.has(node)) visit(node);
  return found;
}
