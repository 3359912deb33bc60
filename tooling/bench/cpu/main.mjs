// Heddle beside node-llama-cpp on the same files, in turns, with the machine's limits measured between the rounds.
//   pnpm bench:cpu [--case decode|prefill|batch|load] [--shape smollm2|qwen2] [--type Q4_0|Q8_0|F16] [--rounds 5] [--threads 2]
//     [--only heddle|llama] [--out docs/benchmarks/cpu.md]
// Results of earlier calls are kept in the cache folder, so that the page can be made of several short runs.
import { existsSync } from "node:fs";
import { loadavg } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { loadLine, measureLoad } from "./load.mjs";
import { median, round, start, stop } from "./process.mjs";
import { keepResult, line, writePage } from "./report.mjs";
import { importSource } from "./sources.mjs";

const { values: options } = parseArgs({
  options: {
    case: { type: "string", multiple: true },
    shape: { type: "string", multiple: true },
    type: { type: "string", multiple: true },
    rounds: { type: "string", default: "5" },
    threads: { type: "string", default: "2" },
    only: { type: "string" },
    out: { type: "string" },
  },
});
const threads = Number(options.threads);
const rounds = Number(options.rounds);
const sources = await importSource("./bench-sources.ts");
const isWanted = (name, value) => options[name] === undefined || options[name].includes(value);
const wanted = sources.rows.filter(
  ({ caseName, shape, type }) =>
    isWanted("case", caseName) && isWanted("shape", shape) && isWanted("type", type),
);
if (!existsSync(new URL("../node_modules", import.meta.url))) {
  console.error(
    "The other libraries are not installed: npx pnpm@12 --dir tooling/bench install --ignore-scripts",
  );
}

const scripts = { heddle: "contestant-heddle.mjs", llama: "contestant-llama.mjs" };

/** Measures one row: limits, Heddle and the peer in turns. */
async function measure(row) {
  const file = await sources.randomGguf(row.shape, row.type);
  const job = sources.jobOf(row, { file, threads });
  const names = options.only === undefined ? Object.keys(scripts) : [options.only];
  const contestants = {};
  for (const name of names) contestants[name] = await start(scripts[name], job);
  const limits = await start("limits.mjs", { threads });
  const times = Object.fromEntries(names.map((name) => [name, []]));
  const seen = [];
  const firstIds = {};
  const disturbed = [];
  try {
    for (let i = 0; i < rounds; i++) {
      const limit = await round(limits);
      seen.push(limit.limits);
      disturbed.push(limit.others);
      for (const name of names) {
        if (contestants[name] === undefined) continue;
        const { ms, ids, others } = await round(contestants[name]);
        disturbed.push(others);
        times[name].push(ms);
        firstIds[name] = ids;
      }
    }
  } finally {
    stop([limits, ...Object.values(contestants)]);
  }
  const speeds = Object.fromEntries(
    names
      .filter((name) => times[name].length > 0)
      .map((name) => {
        const each = times[name].map((ms) => (1000 * sources.tokensOf(job)) / ms);
        const { detail, loadMs } = contestants[name];
        return [name, { median: median(each), best: Math.max(...each), detail, loadMs }];
      }),
  );
  const limitOf = (count, key) => median(seen.map((each) => each[count][key]));
  const limit = (count) => ({
    readGBs: limitOf(count, "readGBs"),
    f32GFlops: limitOf(count, "f32GFlops"),
    int8GOps: limitOf(count, "int8GOps"),
  });
  return {
    row,
    rounds,
    threads,
    date: new Date().toISOString().slice(0, 10),
    load: loadavg()[0],
    others: { median: median(disturbed), most: Math.max(...disturbed) },
    speeds,
    limits: { 1: limit(1), [threads]: limit(threads) },
    work: sources.workOf(row),
    firstIds,
  };
}

for (const row of sources.loadRows) {
  if (!isWanted("case", "load") || !isWanted("shape", row.shape) || !isWanted("type", row.type)) continue;
  const file = await sources.randomGguf(row.shape, row.type);
  console.log(
    loadLine(
      await measureLoad(row, { file, threads, rounds, packedCache: join(sources.cacheFolder, "packed") }),
    ),
  );
}
for (const row of wanted) {
  const result = await measure(row);
  console.log(line(result));
  if (options.only === undefined) keepResult(sources.cacheFolder, result);
}
if (options.out !== undefined)
  writePage(options.out, { cacheFolder: sources.cacheFolder, rows: sources.rows });
