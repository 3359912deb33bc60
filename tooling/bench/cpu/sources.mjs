// Imports TypeScript sources of the repository with `@heddle/*` resolved to sources, so that a benchmark needs no build.
import { fileURLToPath } from "node:url";
import { runnerImport } from "vite";
import { sourceAlias } from "../../vitest/source-alias.ts";

const root = fileURLToPath(new URL("../../..", import.meta.url));

/** Imports a module given by its path from this folder. */
export async function importSource(path) {
  const file = fileURLToPath(new URL(path, import.meta.url));
  // Where builds lie about, packages must not come from them: two copies of one package do not know each other's classes.
  const resolve = { noExternal: [/^@heddle\//] };
  const config = { root, configFile: false, logLevel: "error", plugins: [sourceAlias()], resolve };
  const { module } = await runnerImport(file, config);
  return module;
}
