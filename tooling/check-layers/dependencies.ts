import { isBuiltin } from "node:module";
import type { Problem } from "./problem.ts";
import type { SourceFile } from "./source-file.ts";
import type { WorkspacePackage } from "./workspace.ts";

/** What tests, benchmarks and configurations may import from the root's devDependencies. */
const provided = new Set(["vitest", "fast-check", "tsup", "vite", "playwright-core"]);

/** A manifest tells the truth: what `src` imports is a dependency, and every dependency is imported. */
export function checkDependencies(packages: readonly WorkspacePackage[]): Problem[] {
  return packages.flatMap((pkg) => [...undeclared(pkg), ...unused(pkg)]);
}

function undeclared(pkg: WorkspacePackage): Problem[] {
  const { name, folder, files, dependencies, devDependencies, optionalPeers, doors } = pkg;
  const forSource = new Set([...dependencies, name]);
  const forTests = new Set([...forSource, ...devDependencies, ...provided]);
  return files.flatMap(({ path, imports, isShipped }) => {
    const isDoor = doors.some((door) => path.startsWith(`${folder}/src/${door}/`));
    const declared = new Set([...(isShipped ? forSource : forTests), ...(isDoor ? optionalPeers : [])]);
    const missing = imports.filter(({ specifier }) => {
      const target = packageName(specifier);
      return target !== undefined && !declared.has(target);
    });
    return missing.map(({ specifier, line }): Problem => {
      const field = isShipped ? "dependencies" : "devDependencies";
      return { rule: "dependency", path, line, text: `${specifier} is missing in ${field} of ${name}.` };
    });
  });
}

function unused({ folder, files, dependencies }: WorkspacePackage): Problem[] {
  const shipped = files.filter(({ isShipped }) => isShipped);
  const used = new Set(shipped.flatMap(importedPackages));
  const idle = dependencies.filter((dependency) => !used.has(dependency));
  const path = `${folder}/package.json`;
  return idle.map((dependency): Problem => {
    return {
      rule: "dependency",
      path,
      line: 0,
      text: `no file in src imports the dependency ${dependency}.`,
    };
  });
}

function importedPackages({ imports }: SourceFile): string[] {
  return imports.flatMap(({ specifier }) => packageName(specifier) ?? []);
}

/** The npm package behind a specifier; undefined for relative paths and Node's own modules. */
function packageName(specifier: string): string | undefined {
  if (specifier.startsWith(".") || isBuiltin(specifier)) return undefined;
  return specifier
    .split("/")
    .slice(0, specifier.startsWith("@") ? 2 : 1)
    .join("/");
}
