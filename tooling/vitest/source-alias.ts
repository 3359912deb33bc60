import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Plugin } from "vite";

const root = join(dirname(fileURLToPath(import.meta.url)), "../..");

/** Resolves `@heddle/NAME` and its doors `@heddle/NAME/DOOR` to sources, so that tests need no build. */
export function sourceAlias(): Plugin {
  return {
    name: "heddle-source-alias",
    enforce: "pre",
    resolveId(id) {
      const match = /^@heddle\/([^/]+)(?:\/(.+))?$/.exec(id);
      if (match === null) return null;
      return sourceOf(match[1] ?? "", match[2]);
    },
  };
}

/** Finds the source file behind a package name and an optional door, or null. */
function sourceOf(name: string, door: string | undefined): string | null {
  const src = join(root, "packages", name, "src");
  const candidates = door === undefined ? ["index.ts"] : [`${door}.ts`, `${door}/index.ts`];
  const found = candidates.map((file) => join(src, file)).find((file) => existsSync(file));
  return found ?? null;
}
