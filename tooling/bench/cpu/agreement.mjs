// Whether Heddle and node-llama-cpp take the same next token on the same GGUF file, at every position of a text.
//   pnpm bench:agreement --model PATH --text FILE [--type Q8_0]... [--writer heddle|llama.cpp] [--window 128] [--windows 8]
// PATH is a GGUF file, which both read, or a Hugging Face directory, which is first written as GGUF in each --type: by Heddle, or
// quantised by llama.cpp itself (its types, such as Q4_K_M) from the F32 file that Heddle wrote.
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { checkNeeded } from "./needed-options.mjs";
import { importSource } from "./sources.mjs";

const { values: options } = parseArgs({
  options: {
    model: { type: "string" },
    text: { type: "string" },
    type: { type: "string", multiple: true, default: ["F32", "F16", "Q8_0", "Q4_0"] },
    writer: { type: "string", default: "heddle" },
    window: { type: "string", default: "128" },
    windows: { type: "string", default: "8" },
  },
});
checkNeeded("agreement", options, { model: "PATH", text: "FILE" });
const { cpu, directorySink, openModel, saveGguf } = await importSource("./agreement-sources.ts");
const device = cpu();

/** Logits of Heddle at every position of each window. */
async function heddleLogits(model, windows) {
  const rows = [];
  for (const ids of windows) {
    using logits = model.logits({ ids: [ids] });
    const values = await logits.data();
    const width = logits.shape.at(-1);
    rows.push(ids.map((_, at) => values.slice(at * width, (at + 1) * width)));
  }
  return rows;
}

const likeliest = (row) => row.reduce((best, value, id) => (value > row[best] ? id : best), 0);
const choicesOf = (logits) => logits.map((rows) => rows.map(likeliest));

/** The two likeliest tokens of a row. */
function firstTwo(row) {
  const first = likeliest(row);
  const second = likeliest(row.map((value, id) => (id === first ? Number.NEGATIVE_INFINITY : value)));
  return [first, second];
}

/** What a script beside this one, in which llama.cpp works, prints for that input. */
function runLlama(name, args, input = "") {
  const script = fileURLToPath(new URL(name, import.meta.url));
  const child = spawn(process.execPath, [script, ...args], { stdio: ["pipe", "pipe", "inherit"] });
  const chunks = [];
  child.stdout.on("data", (chunk) => chunks.push(chunk));
  child.stdin.end(input);
  return new Promise((resolve, reject) =>
    child.once("close", (code) =>
      code === 0
        ? resolve(Buffer.concat(chunks).toString("utf8"))
        : reject(new Error(`${name} ended with code ${code}`)),
    ),
  );
}

const llamaChoices = async (file, windows, pairs) =>
  JSON.parse(await runLlama("agreement-llama.mjs", [file], JSON.stringify({ windows, pairs })));

/** The directory's model as a GGUF file of that type. */
async function writeGguf(folder, type) {
  const model = await openModel(options.model, { device });
  const { tokenizer } = model;
  const byHeddle = options.writer === "heddle";
  const written = byHeddle ? type : "F32";
  await saveGguf(directorySink(folder), `${written}.gguf`, model, { type: written, tokenizer });
  model.dispose();
  const file = join(folder, `${type}.gguf`);
  if (!byHeddle) await runLlama("llama-quantise.mjs", [join(folder, "F32.gguf"), file, type]);
  return file;
}

/** Ids of the text, cut into windows. */
function windowsOf(model, text) {
  const size = Number(options.window);
  const ids = [...model.tokenizer.encodeIds(text, { addSpecialTokens: false })];
  const first = model.tokenizer.encodeIds("")[0];
  return Array.from({ length: Number(options.windows) }, (_, i) => ids.slice(i * size, (i + 1) * size))
    .filter((window) => window.length === size)
    .map((window) => (first === undefined ? window : [first, ...window.slice(1)]));
}

/** Share of positions at which two lists of choices are the same. */
function agreement(one, other) {
  const pairs = one.flatMap((choices, i) => choices.map((id, at) => id === other[i][at]));
  return pairs.filter(Boolean).length / pairs.length;
}

/** How far rounding moves the lead of the likeliest token over the next, beside how often that lead is as small. */
function describeTies({ exact, own, other }) {
  const noise = (leads) => {
    const known = leads.flatMap((lead, i) => (lead === null ? [] : [(lead - exact[i]) ** 2]));
    return Math.sqrt(known.reduce((sum, value) => sum + value, 0) / known.length);
  };
  const [ownNoise, otherNoise] = [noise(own), noise(other)];
  const within = exact.filter((lead) => lead < ownNoise).length;
  console.log(
    `  lead of the likeliest over the next token, against exact products: Heddle off by ${ownNoise.toFixed(4)} (root mean square), node-llama-cpp by ${otherNoise.toFixed(4)}; ${within} positions have a smaller lead than Heddle's`,
  );
}

/** How much likelier, by exact products, the best token is than the chosen one, where they differ. */
function describeDifferences({ own, other, exact, exactLogits }) {
  const lost = (choices) =>
    choices.flatMap((row, w) =>
      row.flatMap((id, i) => {
        const logits = exactLogits[w][i];
        return id === exact[w][i] ? [] : [logits[exact[w][i]] - logits[id]];
      }),
    );
  const text = (values) => `${values.length} positions, at most ${Math.max(0, ...values).toFixed(4)}`;
  console.log(
    `  lost by choosing otherwise than exact products: Heddle ${text(lost(own))}; node-llama-cpp ${text(lost(other))} (in logits)`,
  );
}

/** Compares on one file; the judge is the same file's weights widened to f32, so that no activation is rounded. */
async function compare(file, { label, folder }) {
  const model = await openModel(file, { device });
  const windows = windowsOf(model, readFileSync(options.text, "utf8"));
  const ownLogits = await heddleLogits(model, windows);
  await saveGguf(directorySink(folder), "exact.gguf", model, { type: "F32" });
  model.dispose();
  const wide = await openModel(join(folder, "exact.gguf"), { device });
  const exactLogits = await heddleLogits(wide, windows);
  wide.dispose();
  const pairs = exactLogits.map((rows) => rows.map(firstTwo));
  const { choices: other, leads } = await llamaChoices(file, windows, pairs);
  const [own, exact] = [choicesOf(ownLogits), choicesOf(exactLogits)];
  const percent = (share) => `${(100 * share).toFixed(2)} %`;
  const shares = [agreement(own, other), agreement(own, exact), agreement(other, exact)].map(percent);
  console.log(
    `${label}: the same next token at ${shares[0]} of ${windows.flat().length} positions; as with exact products: Heddle ${shares[1]}, node-llama-cpp ${shares[2]}`,
  );
  const leadsOf = (logits) =>
    logits.flatMap((rows, w) => rows.map((row, i) => row[pairs[w][i][0]] - row[pairs[w][i][1]]));
  describeTies({ exact: leadsOf(exactLogits), own: leadsOf(ownLogits), other: leads.flat() });
  describeDifferences({ own, other, exact, exactLogits });
  return agreement(own, other);
}

if (!["heddle", "llama.cpp"].includes(options.writer)) {
  throw new Error(`--writer is heddle or llama.cpp, not ${options.writer}`);
}
const folder = mkdtempSync(join(tmpdir(), "heddle-agreement-"));
try {
  if (options.model.endsWith(".gguf")) {
    process.exitCode = (await compare(options.model, { label: options.model, folder })) >= 0.99 ? 0 : 1;
  } else {
    for (const type of options.type) {
      const label = `written as ${type} by ${options.writer}`;
      const share = await compare(await writeGguf(folder, type), { label, folder });
      if (share < 0.99) process.exitCode = 1;
    }
  }
} finally {
  rmSync(folder, { recursive: true });
}
device.dispose();
