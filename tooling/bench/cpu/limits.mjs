// Measures the machine's limits in a process of its own: answers "run" with GB/s, GFLOP/s and GOP/s on one thread and on all.
import { once } from "node:events";
import { setFlagsFromString } from "node:v8";
import { Worker } from "node:worker_threads";
import { serve } from "./contestant.mjs";
import { importSource } from "./sources.mjs";

const job = JSON.parse(process.argv[2]);
const { cpu, dotKernel, multiplyAddKernel, readFrom, readKernel } = await importSource("./limit-sources.ts");
const { revectorized } = cpu({ threads: 1 }).features;
// As Heddle's device compiles its kernels: optimised at once, and pairs of vectors joined to 256 bits.
for (const flag of ["--no-liftoff", "--no-wasm-lazy-compilation", "--experimental-wasm-revectorize"]) {
  setFlagsFromString(flag);
}

const readBytes = 2 ** 28;
const rounds = 4_000_000;
const memory = new WebAssembly.Memory({
  initial: (readFrom + readBytes) / 65536,
  maximum: 16384,
  shared: true,
});
new Uint8Array(memory.buffer, readFrom).fill(1);
new Float32Array(memory.buffer, 0, 1024).fill(1e-3);
const modules = Object.fromEntries(
  Object.entries({ read: readKernel, multiplyAdd: multiplyAddKernel, dot: dotKernel }).map(([name, emit]) => [
    name,
    new WebAssembly.Module(emit()),
  ]),
);
const threads = [];
for (let i = 0; i < job.threads; i++) {
  const thread = new Worker(new URL("limit-thread.mjs", import.meta.url), {
    workerData: { memory, modules },
  });
  await once(thread, "message");
  threads.push(thread);
}

/** Seconds from the first start to the last end. */
async function seconds(name, count, argsOf) {
  const answers = threads.slice(0, count).map(async (thread, i) => {
    const answer = once(thread, "message");
    thread.postMessage({ name, args: argsOf(i) });
    return (await answer)[0];
  });
  const times = await Promise.all(answers);
  return (
    (Math.max(...times.map(({ ended }) => ended)) - Math.min(...times.map(({ started }) => started))) / 1000
  );
}

async function measure() {
  const result = {};
  for (const count of new Set([1, job.threads])) {
    const share = readBytes / count;
    const read = await seconds("read", count, (i) => [readFrom + i * share, readFrom + (i + 1) * share]);
    const multiplyAdd = await seconds("multiplyAdd", count, () => [0, rounds]);
    const dot = await seconds("dot", count, () => [0, rounds]);
    result[count] = {
      readGBs: readBytes / read / 1e9,
      f32GFlops: (count * rounds * 192) / multiplyAdd / 1e9,
      int8GOps: (count * rounds * 768) / dot / 1e9,
    };
  }
  return { limits: result };
}

await serve({ name: "limits", detail: revectorized ? "256-bit" : "128-bit", loadMs: 0 }, measure);
