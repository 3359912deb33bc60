import type { Problem } from "./problem.ts";
import type { WorkspacePackage } from "./workspace.ts";

/** Imports go down only: every `@heddle/*` that a package imports or depends on has a lower layer than its own. */
export function checkLayers(packages: readonly WorkspacePackage[]): Problem[] {
  const layers = new Map(packages.map(({ name, layer }) => [name, layer]));
  return packages.flatMap((pkg) => {
    const { name, layer, folder, files, dependencies } = pkg;
    const manifest = `${folder}/package.json`;
    if (layer === undefined)
      return [{ rule: "layer", path: manifest, line: 0, text: `${name} needs "heddle": {"layer": n}.` }];
    const used = [
      ...dependencies.map((specifier) => ({ specifier, path: manifest, line: 0 })),
      ...files.flatMap(({ path, imports }) => imports.map((found) => ({ ...found, path }))),
    ];
    return used.flatMap(({ specifier, path, line }): Problem[] => {
      const target = heddleName(specifier);
      if (target === undefined || target === name) return [];
      const below = layers.get(target);
      if (below !== undefined && below < layer) return [];
      const found = below === undefined ? "not a package here" : `layer ${below}`;
      const text = `imports go down only; ${name} (layer ${layer}) uses ${target} (${found}).`;
      return [{ rule: "layer", path, line, text }];
    });
  });
}

/** The package behind a specifier: `@heddle/serve/http` is `@heddle/serve`. */
export function heddleName(specifier: string): string | undefined {
  return /^@heddle\/[^/]+/.exec(specifier)?.[0];
}
