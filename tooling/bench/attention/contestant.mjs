// One library in a process of its own. Arguments: name of the contestant, threads, shape as JSON, runs to warm up. Answers each message "run" with
// the milliseconds that a call took.
import { heddle, jaxJs, onnxWeb } from "./contestants.mjs";

const [, , name, threads, shapeText, warmups] = process.argv;
const shape = JSON.parse(shapeText);
const { length, numHeads, numKvHeads, headDim } = shape;

/** Numbers like those of a normal distribution, the same in every process. */
function numbers(count, seed) {
  let state = seed >>> 0;
  const next = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  return Float32Array.from({ length: count }, () => next() + next() + next() + next() - 2);
}

const inputs = {
  query: numbers(length * numHeads * headDim, 1),
  key: numbers(length * numKvHeads * headDim, 2),
  value: numbers(length * numKvHeads * headDim, 3),
};

/** Largest difference from float64 sums over three rows of two heads. */
function worstError(result) {
  let worst = 0;
  for (const head of [0, numHeads - 1]) {
    const kvHead = Math.floor((head * numKvHeads) / numHeads);
    for (const row of [0, Math.floor(length / 2), length - 1]) {
      const at = (tokens, heads, which) => (tokens * heads + which) * headDim;
      const scores = Array.from({ length: row + 1 }, (_, j) => {
        let sum = 0;
        for (let c = 0; c < headDim; c++) {
          sum += inputs.query[at(row, numHeads, head) + c] * inputs.key[at(j, numKvHeads, kvHead) + c];
        }
        return sum / Math.sqrt(headDim);
      });
      const most = Math.max(...scores);
      const weights = scores.map((score) => Math.exp(score - most));
      const total = weights.reduce((a, b) => a + b, 0);
      for (let c = 0; c < headDim; c++) {
        let sum = 0;
        for (let j = 0; j <= row; j++)
          sum += (weights[j] / total) * inputs.value[at(j, numKvHeads, kvHead) + c];
        worst = Math.max(worst, Math.abs(sum - result[at(row, numHeads, head) + c]));
      }
    }
  }
  return worst;
}

const contestant = await { heddle, jaxJs, onnxWeb }[name]({ shape, threads: Number(threads), inputs });
for (let i = 0; i < Number(warmups); i++) await contestant.run();
const error = worstError(await contestant.result());
if (!(error < 1e-3)) throw new Error(`${contestant.name} is wrong by ${error}`);

process.on("message", async () => {
  const start = performance.now();
  await contestant.run();
  process.send(performance.now() - start);
});
process.send({ name: contestant.name, threads: Number(threads) });
