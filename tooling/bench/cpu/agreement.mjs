// Whether Heddle and node-llama-cpp take the same next token on the same GGUF file, at every position of a text.
//   pnpm bench:agreement --model PATH --text FILE [--type Q8_0]... [--window 128] [--windows 8]
// PATH is a GGUF file, which both read, or a Hugging Face directory, which Heddle first writes as GGUF in each --type.
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { importSource } from "./sources.mjs";

const { values: options } = parseArgs({
  options: {
    model: { type: "string" },
    text: { type: "string" },
    type: { type: "string", multiple: true, default: ["F32", "F16", "Q8_0", "Q4_0"] },
    window: { type: "string", default: "128" },
    windows: { type: "string", default: "8" },
  },
});
const { cpu, directorySink, openModel, saveGguf } = await importSource("./agreement-sources.ts");
const device = cpu();

/** The likeliest next token of Heddle at every position of each window, and how far it leads. */
async function heddleChoices(model, windows) {
  const choices = [];
  for (const ids of windows) {
    using logits = model.logits({ ids: [ids] });
    const values = await logits.data();
    const width = logits.shape.at(-1);
    choices.push(
      ids.map((_, at) => {
        const row = values.subarray(at * width, (at + 1) * width);
        return row.reduce((best, value, id) => (value > row[best] ? id : best), 0);
      }),
    );
  }
  return choices;
}

function llamaChoices(file, windows) {
  const script = fileURLToPath(new URL("agreement-llama.mjs", import.meta.url));
  const child = spawn(process.execPath, [script, file], { stdio: ["pipe", "pipe", "inherit"] });
  const chunks = [];
  child.stdout.on("data", (chunk) => chunks.push(chunk));
  child.stdin.end(JSON.stringify({ windows }));
  return new Promise((resolve, reject) =>
    child.once("close", (code) =>
      code === 0 ? resolve(JSON.parse(Buffer.concat(chunks).toString("utf8"))) : reject(new Error(`node-llama-cpp ended with code ${code}`)),
    ),
  );
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

async function compare(file, label) {
  const model = await openModel(file, { device });
  const windows = windowsOf(model, readFileSync(options.text, "utf8"));
  const [own, other] = [await heddleChoices(model, windows), await llamaChoices(file, windows)];
  const pairs = own.flatMap((choices, i) => choices.map((id, at) => [id, other.choices[i][at]]));
  const same = pairs.filter(([a, b]) => a === b).length;
  const share = ((100 * same) / pairs.length).toFixed(2);
  console.log(`${label}: the same next token at ${same} of ${pairs.length} positions (${share} %)`);
  model.dispose();
  return same / pairs.length;
}

if (options.model.endsWith(".gguf")) {
  process.exitCode = (await compare(options.model, options.model)) >= 0.99 ? 0 : 1;
} else {
  const folder = mkdtempSync(join(tmpdir(), "heddle-agreement-"));
  try {
    for (const type of options.type) {
      const model = await openModel(options.model, { device });
      const { tokenizer } = model;
      await saveGguf(directorySink(folder), `${type}.gguf`, model, { type, tokenizer });
      model.dispose();
      if ((await compare(join(folder, `${type}.gguf`), `written as ${type}`)) < 0.99) process.exitCode = 1;
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
}
device.dispose();
