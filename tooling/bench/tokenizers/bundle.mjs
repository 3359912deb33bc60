import { mkdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "vite";

const root = fileURLToPath(new URL("../../..", import.meta.url));
const cache = fileURLToPath(new URL("../node_modules/.cache/tokenizers", import.meta.url));

/** Bundles names of @heddle/tokenizers into one module and returns its code. */
async function bundle(names) {
  mkdirSync(cache, { recursive: true });
  const entry = `${cache}/entry-${names.join("-").slice(0, 40)}.js`;
  writeFileSync(
    entry,
    `export { ${names.join(", ")} } from ${JSON.stringify(`${root}packages/tokenizers/src/index.ts`)};\n`,
  );
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
  return [output].flat()[0].output[0].code;
}

/** Writes the bundle that is measured. */
export async function writeHeddle() {
  writeFileSync(`${cache}/heddle.js`, await bundle(["fromTiktoken", "fromTokenizerJson"]));
}
