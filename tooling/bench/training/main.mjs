// Measures a training step of Heddle and of PyTorch in turns, so that both see the same machine load.
//   pnpm bench:training [--rounds 7] [--threads 2] [--out docs/benchmarks/training.md]
import { writeFileSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import { parseArgs } from "node:util";
import { median, round, start, stop } from "../cpu/process.mjs";
import { smallGpt2, stepFlops } from "./shape.ts";

const { values: options } = parseArgs({
  options: {
    rounds: { type: "string", default: "7" },
    threads: { type: "string", default: "2" },
    out: { type: "string" },
  },
});
const [rounds, threads] = [Number(options.rounds), Number(options.threads)];
const job = { ...smallGpt2, threads };
const scripts = ["contestant-heddle.mjs", "contestant-torch.mjs"];
const contestants = [];
for (const script of scripts) {
  const contestant = await start(`../training/${script}`, job);
  if (contestant !== undefined) contestants.push({ ...contestant, times: [], losses: [], others: [] });
}
for (let i = 0; i < rounds; i++) {
  for (const contestant of contestants) {
    const { ms, loss, others } = await round(contestant);
    contestant.others.push(others);
    contestant.times.push(ms);
    contestant.losses.push(loss);
  }
}
stop(contestants);

const tokens = job.batchSize * job.seqLen;
const rate = (ms) => (1000 * tokens) / ms;
const reference = contestants.find(({ name }) => name.startsWith("PyTorch"));
const rows = contestants.map(({ name, detail, times, losses }) => {
  const [middle, best] = [median(times), Math.min(...times)];
  const gflops = stepFlops(job) / middle / 1e6;
  const ratio = reference === undefined ? "-" : (median(reference.times) / middle).toFixed(2);
  const loss = losses.at(-1).toFixed(3);
  return `| ${name} (${detail}) | ${rate(middle).toFixed(0)} | ${rate(best).toFixed(0)} | ${middle.toFixed(0)} | ${gflops.toFixed(1)} | ${ratio} | ${loss} |`;
});
const most = Math.max(...contestants.flatMap(({ others }) => others));
const report = `# A training step

${new Date().toISOString().slice(0, 10)}; ${cpus()[0]?.model.trim()}, ${cpus().length} cores, load average ${loadavg()[0]?.toFixed(2)}, other processes took at most ${(100 * most).toFixed(0)} % of them in any round; Node ${process.versions.node}.
Command: \`pnpm bench:training --rounds ${rounds} --threads ${threads}\`. GPT-2 blocks, f32, AdamW: width ${job.modelDim}, ${job.numLayers} layers, ${job.numHeads} heads,
${job.seqLen} tokens, batch ${job.batchSize}, vocabulary ${job.vocabSize}, tied. Medians of ${rounds} rounds in which both take turns, ${threads} threads each.

| library | tokens/s (median) | tokens/s (best) | ms (median) | GFLOP/s | relative to PyTorch | loss after the last step |
|---|---|---|---|---|---|---|
${rows.join("\n")}
`;
console.log(report);
if (options.out !== undefined) writeFileSync(options.out, report);
process.exit(0);
