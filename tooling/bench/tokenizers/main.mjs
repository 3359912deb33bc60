// Measures tokenizers: each library in its own process, in turns, results compared before anything is timed again.
// Three speeds of each: "fresh" is the first pass over the text in a process that encoded nothing before, "unseen" the
// first pass in a process that has read the other texts once each, "warm" a later pass over the same text.
//   pnpm bench:tokenizers [--tokenizers cl100k,BERT] [--texts English,code] [--rounds 5] [--cold 3] [--out results.json]
// --cold is the number of processes of each of the two first passes, --rounds that of the warm ones; --before names the texts that
// are read before an unseen one, for libraries that do not end on some.
import { fork } from "node:child_process";
import { once } from "node:events";
import { existsSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { writeHeddle, writeModelFile } from "./bundle.mjs";
import { texts } from "./files.mjs";
import { libraries } from "./libraries.mjs";
import { machineLine } from "./machine.mjs";

const { values: options } = parseArgs({
  options: {
    tokenizers: { type: "string", default: "cl100k,o200k,Llama-3,Gemma-3,BERT,Llama-2,Llama-2.model" },
    texts: { type: "string", default: Object.keys(texts).join() },
    before: { type: "string", default: Object.keys(texts).join() },
    rounds: { type: "string", default: "5" },
    cold: { type: "string", default: "3" },
    libraries: { type: "string", default: Object.keys(libraries).join() },
    out: { type: "string" },
  },
});

/** A contestant that has not encoded the text, and those before it, once by then is left out. */
const TIMEOUT_MS = 30_000;
/** Kinds of speed, in MB of UTF-8 a second, in the order of the report. */
const SPEEDS = ["fresh", "unseen", "warm"];
/**
 * Ids alone and with offsets are compared in so many turns, of which the second half counts: results of some megabytes
 * are new memory, and new pages, until the engine and malloc have settled on taking that of results let go.
 */
const OFFSET_TURNS = 80;

const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];

/** Starts a contestant; null if it does not know such a tokenizer or fails. */
async function start(library, tokenizer, [text, ...readBefore]) {
  const script = new URL("contestant.mjs", import.meta.url);
  const names = [library, tokenizer, text, ...readBefore];
  const child = fork(script, names, { stdio: ["ignore", "ignore", "pipe", "ipc"] });
  let errors = "";
  child.stderr.on("data", (chunk) => {
    errors += chunk;
  });
  // Some need time that grows with the square of a line.
  const timer = setTimeout(() => child.kill(), TIMEOUT_MS);
  const [first] = await Promise.race([once(child, "message"), once(child, "exit")]);
  clearTimeout(timer);
  if (typeof first === "object" && first !== null) return { ...first, child };
  if (first !== 0)
    console.error(
      `left out: ${library} on ${tokenizer}, ${text}${readBefore.length > 0 ? " after the others" : ""}: ${errors.split("\n").find((line) => /Error/.test(line)) ?? (first === null ? "killed or too slow" : first)}`,
    );
  return null;
}

/** Ends a contestant and waits until it is gone, so that its end takes no time from the next one. */
async function stop(child) {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, "exit");
  child.kill();
  await exit;
}

async function timeMs(child, kind) {
  const answer = once(child, "message");
  child.send(kind);
  return (await answer)[0];
}

/** The first passes of all libraries over a text, in turns: a row for each, with the process that encoded it first. */
async function measureFirst(tokenizer, text) {
  const others = options.before.split(",").filter((name) => name !== text);
  const rows = new Map();
  for (let turn = 0; turn < Number(options.cold); turn++) {
    for (const library of options.libraries.split(",")) {
      if (turn > 0 && !rows.has(library)) continue;
      const contestant = await start(library, tokenizer, [text]);
      if (contestant === null) continue;
      const { child, loadMs, firstMs, ...result } = contestant;
      const row = rows.get(library) ?? {
        ...{ library, child, load: [], fresh: [], unseen: [], warm: [] },
        ...{ ids: [], offsets: [], count: [], decode: [] },
      };
      rows.set(library, Object.assign(row, result));
      row.load.push(loadMs);
      row.fresh.push(firstMs);
      if (turn > 0) await stop(child);
      if (turn > 0 && row.unseen.length === 0) continue;
      const reader = await start(library, tokenizer, [text, ...others]);
      if (reader === null) continue;
      row.unseen.push(reader.firstMs);
      await stop(reader.child);
    }
  }
  return rows;
}

/** Everything about one tokenizer and one text: a row for each library. */
async function measure(tokenizer, text) {
  const rows = await measureFirst(tokenizer, text);
  for (let round = 0; round < Number(options.rounds); round++) {
    for (const row of rows.values()) row.warm.push(await timeMs(row.child, "warm"));
    const own = rows.get("heddle");
    for (const kind of ["count", "decode"]) own[kind].push(await timeMs(own.child, kind));
  }
  const own = rows.get("heddle");
  for (let turn = 0; turn < OFFSET_TURNS; turn++) {
    const ms = [await timeMs(own.child, "warm"), await timeMs(own.child, "offsets")];
    if (turn === 0) own.firstOffsets = ms[1] / ms[0];
    if (turn < OFFSET_TURNS / 2) continue;
    own.ids.push(ms[0]);
    own.offsets.push(ms[1]);
  }
  for (const { child } of rows.values()) await stop(child);
  const { digest } = rows.get("heddle");
  return [...rows.values()].map((row) => ({
    tokenizer,
    text,
    library: row.library,
    isEqual: row.digest === digest,
    numTokens: row.numTokens,
    loadMs: median(row.load),
    firstOffsets: row.firstOffsets,
    ...Object.fromEntries(
      [...SPEEDS, "ids", "offsets", "count", "decode"].map((kind) => [
        kind,
        row[kind].length === 0 ? null : row.bytes / 1e3 / median(row[kind]),
      ]),
    ),
  }));
}

function print(rows) {
  const shown = (value) => (value === null ? "" : value.toFixed(1));
  const [own, ...peers] = rows;
  const line = (title, load, speeds) => console.log(`| ${[title, load, ...speeds].join(" | ")} |`);
  console.log();
  line(
    `${own.tokenizer}, ${own.text}`,
    "load ms",
    SPEEDS.map((kind) => `${kind} MB/s`),
  );
  console.log("|---|--:|--:|--:|--:|");
  for (const row of rows) {
    const mark = row.isEqual ? "" : ` (other ids: ${row.numTokens} for ${own.numTokens})`;
    line(
      row.library + mark,
      row.loadMs.toFixed(0),
      SPEEDS.map((kind) => shown(row[kind])),
    );
  }
  const compare = (title, rows) => {
    const fastest = (kind) => Math.max(...rows.map((row) => row[kind] ?? 0));
    const ratios = SPEEDS.map((kind) =>
      fastest(kind) > 0 ? `${(own[kind] / fastest(kind)).toFixed(2)}x` : "",
    );
    if (rows.length > 0) line(title, "", ratios);
  };
  const agreeing = peers.filter(({ isEqual }) => isEqual);
  compare("Heddle / fastest other", peers);
  if (agreeing.length < peers.length) compare("Heddle / fastest with the same ids", agreeing);
  console.log(
    `\nHeddle with offsets ${shown(own.offsets)} MB/s (${(own.ids / own.offsets).toFixed(2)} times the time of ids alone, the first time ${own.firstOffsets.toFixed(2)}), counting ${shown(own.count)}, decoding ${shown(own.decode)}`,
  );
}

if (!existsSync(new URL("../node_modules/kitoken", import.meta.url))) {
  throw new Error(
    "The other libraries are not installed: npx pnpm@12 --dir tooling/bench install --ignore-scripts",
  );
}
await writeModelFile(await writeHeddle());
console.log(machineLine());
const results = [];
for (const tokenizer of options.tokenizers.split(",")) {
  for (const text of options.texts.split(",")) {
    const rows = await measure(tokenizer, text);
    results.push(...rows);
    print(rows);
  }
}
if (options.out !== undefined) writeFileSync(options.out, `${JSON.stringify(results, null, 1)}\n`);
