// Measures an f32 matrix product of Heddle and of other JavaScript libraries in turns, so that all see the same machine load.
//   pnpm bench:gemm [--size 1024] [--rounds 9] [--out docs/benchmarks/gemm.md]
import { fork } from "node:child_process";
import { once } from "node:events";
import { existsSync, writeFileSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import { parseArgs } from "node:util";

const { values: options } = parseArgs({
  options: {
    size: { type: "string", default: "1024" },
    rounds: { type: "string", default: "9" },
    out: { type: "string" },
  },
});
const size = Number(options.size);
const rounds = Number(options.rounds);

const entries = [
  ["heddle", 1],
  ["onnxWeb", 1],
  ["tfjsWasm", 1],
  ["onnxNative", 1],
  ["heddle", 2],
  ["onnxWeb", 2],
  ["tfjsWasm", 2],
  ["jaxWasm", 2],
  ["onnxNative", 2],
];

/** Starts a contestant in its own process; undefined, with the reason on stderr, if it cannot start here. */
async function start([name, threads]) {
  const script = new URL("contestant.mjs", import.meta.url);
  const child = fork(script, [name, String(threads), String(size)]);
  const first = await Promise.race([once(child, "message"), once(child, "exit")]);
  if (typeof first[0] !== "object" || first[0] === null) {
    console.error(`left out: ${name}`);
    return undefined;
  }
  return { ...first[0], child, times: [] };
}

/** Stops a contestant's process, threads that spin while they wait for work included, or lets it go on. */
function pause({ child }) {
  child.kill("SIGSTOP");
}
function resume({ child }) {
  child.kill("SIGCONT");
}

/** The second of two runs: the first wakes the threads and brings the matrices back into the caches. */
async function measure(contestant) {
  const { child, times } = contestant;
  resume(contestant);
  for (const timed of [false, true]) {
    const answer = once(child, "message");
    child.send("run");
    const [ms] = await answer;
    if (timed) times.push(ms);
  }
  pause(contestant);
}

if (!existsSync(new URL("node_modules", import.meta.url))) {
  console.error("The other libraries are not installed: pnpm --dir tooling/bench install --ignore-scripts");
}
const contestants = [];
for (const entry of entries) {
  const contestant = await start(entry);
  if (contestant === undefined) continue;
  pause(contestant);
  contestants.push(contestant);
}
for (let round = 0; round < rounds; round++) for (const contestant of contestants) await measure(contestant);
for (const { child } of contestants) child.kill("SIGKILL");

const gflops = (ms) => (2 * size ** 3) / ms / 1e6;
const speeds = contestants.map(({ times }) => {
  const sorted = [...times].sort((x, y) => x - y);
  const middle = sorted[Math.floor(sorted.length / 2)];
  return { median: gflops(middle), best: gflops(sorted[0]), ms: middle };
});
const rows = contestants.map(({ name, threads }, i) => {
  const { median, best, ms } = speeds[i];
  const ratio = `${(median / speeds[0].median).toFixed(2)}`;
  return `| ${[name, threads, median.toFixed(1), best.toFixed(1), ms.toFixed(2), ratio].join(" | ")} |`;
});
const [processor] = cpus();
const report = `# f32 matrix product, ${size} x ${size} x ${size}

${new Date().toISOString().slice(0, 10)}; ${processor?.model.trim()}, ${cpus().length} cores, load average ${loadavg()[0].toFixed(2)}; Node ${process.versions.node} (V8 ${process.versions.v8}).
Command: \`pnpm bench:gemm --size ${size} --rounds ${rounds}\`. Medians of ${rounds} rounds in which all take turns, each library in its own process with its own defaults, stopped while others have their turn (the native one's threads spin for a while after a product); each turn is a product to warm up and one that is timed; every result is checked against sums in float64.

| library | threads | GFLOP/s (median) | GFLOP/s (best) | ms (median) | relative to Heddle on 1 thread |
|---|---|---|---|---|---|
${rows.join("\n")}
`;
console.log(report);
if (options.out !== undefined) writeFileSync(options.out, report);
