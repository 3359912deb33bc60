import { mkdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "vite";

const root = fileURLToPath(new URL("../../..", import.meta.url));
const cache = fileURLToPath(new URL("../node_modules/.cache/tokenizers", import.meta.url));

/** Writes @heddle/tokenizers as the one module that is measured and returns its address. */
export async function writeHeddle() {
  mkdirSync(cache, { recursive: true });
  const entry = `${root}packages/tokenizers/src/index.ts`;
  const output = await build({
    configFile: false,
    root,
    logLevel: "error",
    build: {
      write: false,
      minify: false,
      target: "es2023",
      lib: { entry, formats: ["es"], fileName: "out" },
    },
  });
  const file = `${cache}/heddle.js`;
  writeFileSync(file, [output].flat()[0].output[0].code);
  return file;
}
