// Measures causal attention of one layer by Heddle and by other JavaScript libraries in turns.
//   node tooling/bench/attention/main.mjs [--length 2048] [--rounds 7] [--warmups 2]
// after `pnpm --dir tooling/bench install --ignore-scripts`.
import { fork } from "node:child_process";
import { once } from "node:events";
import { cpus, loadavg } from "node:os";
import { parseArgs } from "node:util";

const { values: options } = parseArgs({
  options: {
    length: { type: "string", default: "2048" },
    rounds: { type: "string", default: "7" },
    warmups: { type: "string", default: "2" },
  },
});
const shape = { length: Number(options.length), numHeads: 32, numKvHeads: 8, headDim: 64 };
const entries = [
  ["heddle", 1],
  ["onnxWeb", 1],
  ["jaxJs", 1],
  ["heddle", 2],
  ["onnxWeb", 2],
];

/** Starts a contestant in its own process; undefined if it cannot start here. */
async function start([name, threads]) {
  const script = new URL("contestant.mjs", import.meta.url);
  const child = fork(script, [name, String(threads), JSON.stringify(shape), options.warmups]);
  const first = await Promise.race([once(child, "message"), once(child, "exit")]);
  if (typeof first[0] === "object" && first[0] !== null) return { ...first[0], child, times: [] };
  console.error(`left out: ${name} on ${threads} thread(s)`);
  return undefined;
}

const contestants = [];
for (const entry of entries) {
  const contestant = await start(entry);
  if (contestant !== undefined) contestants.push(contestant);
}
for (let round = 0; round < Number(options.rounds); round++) {
  for (const { child, times } of contestants) {
    const answer = once(child, "message");
    child.send("run");
    times.push((await answer)[0]);
  }
}
for (const { child } of contestants) child.kill();

const median = (times) => [...times].sort((x, y) => x - y)[Math.floor(times.length / 2)];
const work = (2 * shape.numHeads * shape.length ** 2 * shape.headDim) / 1e9; // half of the pairs
const heddle = Object.fromEntries(
  contestants.filter(({ name }) => name === "Heddle").map(({ threads, times }) => [threads, median(times)]),
);
console.log(
  `${JSON.stringify(shape)}, ${cpus()[0]?.model}, load ${loadavg()[0].toFixed(2)}, Node ${process.versions.node}`,
);
console.log("| library | threads | ms (median) | GFLOP/s | times Heddle's time |\n|---|---|---|---|---|");
for (const { name, threads, times } of contestants) {
  const ms = median(times);
  console.log(
    `| ${name} | ${threads} | ${ms.toFixed(1)} | ${(work / (ms / 1e3)).toFixed(1)} | ${(ms / heddle[threads]).toFixed(2)} |`,
  );
}
