// One library in a process of its own: flags of its engine and its memory concern nobody else.
// Arguments: name of the contestant, threads, size. Answers each message "run" with the milliseconds that a product took.
import { runnerImport } from "vite";
import { jaxWasm, onnxNative, onnxWeb, tfjsWasm } from "./peers.mjs";

const [, , name, threads, size] = process.argv.map((text, i) => (i > 2 ? Number(text) : text));
const a = Float32Array.from({ length: size * size }, (_, i) => Math.sin(i));
const b = Float32Array.from({ length: size * size }, (_, i) => Math.cos(2 * i));

async function heddle(options) {
  const root = new URL("../..", import.meta.url).pathname;
  const { module } = await runnerImport(`${root}packages/tensor/bench/gemm.ts`, { root, logLevel: "error" });
  return module.heddleGemm(options);
}

/** Largest difference between the product and sums in f64 over three rows. */
function worstError(result) {
  let worst = 0;
  for (const row of [0, Math.floor(size / 2), size - 1]) {
    for (let column = 0; column < size; column++) {
      let sum = 0;
      for (let k = 0; k < size; k++) sum += a[row * size + k] * b[k * size + column];
      worst = Math.max(worst, Math.abs(sum - result[row * size + column]));
    }
  }
  return worst;
}

const makers = { heddle, jaxWasm, onnxWeb, tfjsWasm, onnxNative };
const contestant = await makers[name]({ size, threads, a, b });
for (let i = 0; i < 5; i++) await contestant.run();
const error = worstError(await contestant.result());
if (!(error < 1e-3)) throw new Error(`${contestant.name} is wrong by ${error}`);

process.on("message", async () => {
  const start = performance.now();
  await contestant.run();
  process.send(performance.now() - start);
});
process.send({ name: contestant.name, threads: contestant.threads });
