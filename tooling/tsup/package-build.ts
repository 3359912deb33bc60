import { readFileSync } from "node:fs";
import type { Options } from "tsup";
import { emitDeclarations } from "./declarations.ts";

/**
 * Describes the build of a library package: ES module and CommonJS with one entry for each door in the
 * package's `exports`, then declarations for both. Runs in the package's folder.
 */
export function packageBuild(): Options {
  return {
    entry: entries(),
    format: ["esm", "cjs"],
    target: "es2022",
    platform: "neutral",
    sourcemap: true,
    clean: true,
    splitting: true,
    onSuccess: async () => emitDeclarations(process.cwd()),
  };
}

/** Maps each built file to its source: `dist/http/index.js` in `exports` comes from `src/http/index.ts`. */
function entries(): Record<string, string> {
  const manifest: { exports: Record<string, { default?: string }> } = JSON.parse(
    readFileSync("package.json", "utf8"),
  );
  const built = Object.values(manifest.exports).flatMap((door) => door.default ?? []);
  const names = built.map((file) => file.replace(/^\.\/dist\//, "").replace(/\.js$/, ""));
  return Object.fromEntries(names.map((name) => [name, `src/${name}.ts`]));
}
