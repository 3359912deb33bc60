import type { Options } from "tsup";

/** Describes the build of a library package: ES module and CommonJS, one entry for each door. */
export function packageBuild({ doors = [] }: { doors?: readonly string[] } = {}): Options {
  return {
    entry: {
      index: "src/index.ts",
      ...Object.fromEntries(doors.map((door) => [`${door}/index`, `src/${door}/index.ts`])),
    },
    format: ["esm", "cjs"],
    target: "es2022",
    platform: "neutral",
    sourcemap: true,
    clean: true,
    splitting: true,
  };
}
