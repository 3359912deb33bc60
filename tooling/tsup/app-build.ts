import type { Options } from "tsup";

/** Describes the build of a Node application: one ES module for each entry. */
export function appBuild({ entry }: { entry: Record<string, string> }): Options {
  return { entry, format: ["esm"], target: "es2022", platform: "node", sourcemap: true, clean: true };
}
