// Decoding of a model so small that a second thread cannot help, on one thread and on two in turns: threads must not cost it anything.
//   node tooling/bench/cpu/threads.mjs [--shape stories260k] [--type F16] [--rounds 11]
import { parseArgs } from "node:util";
import { median, round, start, stop } from "./process.mjs";
import { importSource } from "./sources.mjs";

const { values: options } = parseArgs({
  options: {
    shape: { type: "string", default: "stories260k" },
    type: { type: "string", default: "F16" },
    rounds: { type: "string", default: "11" },
  },
});
const { shape, type } = options;
const sources = await importSource("./bench-sources.ts");
const file = await sources.randomGguf(shape, type);
const contestants = [];
for (const threads of [1, 2]) {
  const job = sources.jobOf({ caseName: "decode", shape, type }, { file, threads });
  contestants.push({ ...(await start("contestant-heddle.mjs", job)), threads, job, times: [], others: [] });
}
for (let i = 0; i < Number(options.rounds); i++) {
  for (const contestant of i % 2 === 0 ? contestants : contestants.toReversed()) {
    const { ms, others } = await round(contestant);
    contestant.times.push(ms);
    contestant.others.push(others);
  }
}
stop(contestants);
const speeds = contestants.map(({ job, times }) => (1000 * sources.tokensOf(job)) / median(times));
for (const [i, { threads, others }] of contestants.entries()) {
  const most = (100 * Math.max(...others)).toFixed(0);
  console.log(
    `decode ${shape} ${type}, threads ${threads}: ${speeds[i].toFixed(0)} tokens/s (others took at most ${most} % of the machine)`,
  );
}
console.log(`two threads over one: ${(speeds[1] / speeds[0]).toFixed(3)}`);
process.exit(0);
