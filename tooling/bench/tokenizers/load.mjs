// How long a tokenizer takes until its first short text is encoded, in fresh processes that take turns.
//   node tooling/bench/tokenizers/load.mjs [--rounds 7]
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { writeHeddle } from "./bundle.mjs";
import { sources } from "./files.mjs";
import { libraries } from "./libraries.mjs";
import { machineLine } from "./machine.mjs";

const { values: options, positionals } = parseArgs({
  options: { rounds: { type: "string", default: "7" } },
  allowPositionals: true,
});
const heddle = new URL("../node_modules/.cache/tokenizers/heddle.js", import.meta.url);

/** One load; prints its milliseconds. */
async function child([library, tokenizer, file]) {
  let load;
  if (library === "compact") {
    const { fromCompact } = await import(heddle);
    const bytes = new Uint8Array(readFileSync(file));
    load = () => {
      const loaded = fromCompact(bytes);
      return { encode: (text) => loaded.encodeIds(text) };
    };
  } else {
    load = await libraries[library](sources[tokenizer](), tokenizer);
  }
  const start = performance.now();
  await (await load()).encode("Hello world");
  console.log(performance.now() - start);
}

async function main() {
  await writeHeddle();
  const { fromTokenizerJson, toCompact } = await import(heddle);
  const folder = mkdtempSync(join(tmpdir(), "heddle-load-"));
  const compact = toCompact(fromTokenizerJson(new Uint8Array(sources["Llama-3"]())));
  writeFileSync(join(folder, "llama3"), compact);
  const json = ["heddle", "kitoken (wasm)", "@huggingface/tokenizers", "@anush008/tokenizers (native)"];
  const ranks = ["heddle", "gpt-tokenizer", "ai-tokenizer", "tiktoken (wasm)"];
  const runs = [
    ...json.map((library) => [library, "Llama-3"]),
    ["compact", "Llama-3", join(folder, "llama3")],
    ...ranks.flatMap((library) => ["cl100k", "o200k"].map((name) => [library, name])),
  ];
  const times = runs.map(() => []);
  for (let round = 0; round < Number(options.rounds); round++) {
    for (const [i, run] of runs.entries()) {
      const printed = execFileSync(process.execPath, [fileURLToPath(import.meta.url), ...run]);
      times[i].push(Number(printed.toString()));
    }
  }
  console.log(machineLine());
  console.log("\n| loaded by | file | ms, median (least) |\n|---|---|--:|");
  for (const [i, [library, tokenizer]] of runs.entries()) {
    const sorted = times[i].toSorted((a, b) => a - b);
    const name =
      library === "compact" ? `heddle, compact form of ${(compact.length / 1e6).toFixed(1)} MB` : library;
    console.log(
      `| ${name} | ${tokenizer} | ${sorted[sorted.length >> 1].toFixed(0)} (${sorted[0].toFixed(0)}) |`,
    );
  }
}

await (positionals.length > 0 ? child(positionals) : main());
