// Makes one file of a program and of the sources that it uses.
import { basename, join } from "node:path";
import { build } from "vite";
import { sourceAlias } from "../../../vitest/source-alias.ts";

/** Writes `FOLDER/NAME.mjs`: everything but Node and Dawn. */
export async function bundle(program: string, folder: string): Promise<void> {
  await build({
    root: join(import.meta.dirname, "../../../.."),
    configFile: false,
    logLevel: "error",
    plugins: [sourceAlias()],
    ssr: { noExternal: true },
    build: {
      ssr: program,
      outDir: folder,
      emptyOutDir: false,
      target: "es2023",
      rollupOptions: { output: { entryFileNames: `${nameOf(program)}.mjs`, codeSplitting: false } },
    },
  });
}

export function nameOf(program: string): string {
  return basename(program).replace(/\.[a-z]+$/, "");
}
