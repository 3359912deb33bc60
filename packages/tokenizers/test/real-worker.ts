import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { build } from "vite";

const entries = {
  encoding: `import { parentPort } from "node:worker_threads";
import { serveEncoding } from "SOURCE/encoding-pool.ts";
serveEncoding(parentPort);`,
  "sentencepiece-js": `import { parentPort } from "node:worker_threads";
import { serveSentencePieceJs } from "SOURCE/sentencepiece-js/index.ts";
serveSentencePieceJs(parentPort);`,
};

const source = join(import.meta.dirname, "../src");
const cache = join(import.meta.dirname, "../node_modules/.cache/workers");
const built = new Map<string, Promise<unknown>>();

/** Starts a thread of its own that serves what its name says, from the sources as they are. */
export async function startWorker(name: keyof typeof entries): Promise<Worker> {
  const file = join(cache, `${name}-${process.pid}.mjs`);
  if (!built.has(name)) built.set(name, bundle(entries[name], file));
  await built.get(name);
  return new Worker(file);
}

async function bundle(entry: string, file: string): Promise<void> {
  mkdirSync(cache, { recursive: true });
  await build({
    configFile: false,
    root: join(import.meta.dirname, ".."),
    logLevel: "error",
    plugins: [
      {
        name: "entry",
        resolveId: (id) => (id === "entry" ? "\0entry" : null),
        load: (id) => (id === "\0entry" ? entry.replaceAll("SOURCE", source) : null),
      },
    ],
    build: {
      outDir: cache,
      emptyOutDir: false,
      minify: false,
      target: "es2022",
      ssr: true,
      rollupOptions: {
        input: "entry",
        output: { format: "es", entryFileNames: file.slice(cache.length + 1) },
      },
    },
  });
}
