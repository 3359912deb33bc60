import { mkdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "vite";

const root = fileURLToPath(new URL("../../..", import.meta.url));
const cache = fileURLToPath(new URL("../node_modules/.cache/tokenizers", import.meta.url));

/** Bundles names of @heddle/tokenizers into one module and returns its code. */
export async function bundle(names, { minify }) {
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
    build: { write: false, minify, target: "es2023", lib: { entry, formats: ["es"], fileName: "out" } },
  });
  return [output].flat()[0].output[0].code;
}

/** Writes the bundle that is measured. */
export async function writeHeddle() {
  writeFileSync(`${cache}/heddle.js`, await bundle(["fromTiktoken", "fromTokenizerJson"], { minify: false }));
}

/** Bytes of minified, gzipped bundles by what is imported. */
export async function sizes(groups) {
  const rows = [];
  for (const [title, names] of Object.entries(groups)) {
    rows.push([title, gzipSync(await bundle(names, { minify: true }), { level: 9 }).length]);
  }
  return rows;
}
