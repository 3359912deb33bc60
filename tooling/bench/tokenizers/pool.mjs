// Throughput of batch encoding on this thread and over one and two workers.
//   node tooling/bench/tokenizers/pool.mjs [--tokenizer Llama-3] [--rounds 7]
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { Worker } from "node:worker_threads";
import { writeHeddle } from "./bundle.mjs";
import { sources, texts } from "./files.mjs";
import { machineLine } from "./machine.mjs";

const { values: options } = parseArgs({
  options: {
    tokenizer: { type: "string", default: "Llama-3" },
    rounds: { type: "string", default: "7" },
  },
});

/** A batch: all texts in documents of so many characters, so that each pass costs some tenths of a second at most. */
const DOCUMENT = 4096;
const documents = Object.values(texts)
  .map((read) => read())
  .flatMap((text) =>
    Array.from({ length: Math.ceil(text.length / DOCUMENT) }, (_, i) =>
      text.slice(i * DOCUMENT, (i + 1) * DOCUMENT),
    ),
  );
const megabytes = documents.reduce((sum, text) => sum + Buffer.byteLength(text), 0) / 1e6;

const heddle = await writeHeddle();
const { createEncodingPool, fromTokenizerJson } = await import(heddle);
const tokenizer = fromTokenizerJson(new Uint8Array(sources[options.tokenizer]()));
const workerFile = heddle.replace("heddle.js", "worker.mjs");
writeFileSync(
  workerFile,
  `import { parentPort } from "node:worker_threads";\nimport { serveEncoding } from "./heddle.js";\nserveEncoding(parentPort);\n`,
);

const workers = [new Worker(workerFile), new Worker(workerFile)];
const pools = [1, 2].map((count) => createEncodingPool(tokenizer, workers.slice(0, count)));
const ways = [
  ["this thread", async () => documents.map((text) => tokenizer.encodeIds(text))],
  ["pool of 1 worker", () => pools[0].encodeIdsBatch(documents)],
  ["pool of 2 workers", () => pools[1].encodeIdsBatch(documents)],
];
const times = ways.map(() => []);
const totals = new Set();
for (let round = 0; round <= Number(options.rounds); round++) {
  for (const [i, [, encode]] of ways.entries()) {
    const start = performance.now();
    const ids = await encode();
    // The first round warms every thread.
    if (round > 0) times[i].push(performance.now() - start);
    totals.add(ids.reduce((sum, { length }) => sum + length, 0));
  }
}
await Promise.all(workers.map((worker) => worker.terminate()));
if (totals.size > 1) throw new Error(`the ways must give equally many ids; got ${[...totals]}`);

const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];
console.log(machineLine());
console.log(`\n${documents.length} documents, ${megabytes.toFixed(1)} MB, ${options.tokenizer}\n`);
console.log("| encoded by | MB/s | to this thread |\n|---|--:|--:|");
for (const [i, [name]] of ways.entries()) {
  const speed = (megabytes * 1e3) / median(times[i]);
  console.log(`| ${name} | ${speed.toFixed(1)} | ${(median(times[0]) / median(times[i])).toFixed(2)} |`);
}
