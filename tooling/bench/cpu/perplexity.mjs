// What quantising costs: perplexity of a model on a text in F32 and in GGUF types.
//   pnpm bench:perplexity --model DIRECTORY --text FILE [--type Q4_0]... [--window 128] [--max-tokens N]
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { importSource } from "./sources.mjs";

const { values: options } = parseArgs({
  options: {
    model: { type: "string" },
    text: { type: "string" },
    separator: { type: "string", default: "<|endoftext|>" },
    type: { type: "string", multiple: true, default: ["Q8_0", "Q6_K", "Q4_K", "Q4_0"] },
    window: { type: "string", default: "128" },
    "max-tokens": { type: "string", default: "20000" },
  },
});
const { cpu, directorySink, encodeDocuments, openModel, perplexity, saveGguf } =
  await importSource("./perplexity-sources.ts");
const device = cpu();
const text = readFileSync(options.text, "utf8");

async function measure(model) {
  const ids = encodeDocuments(model.tokenizer, text, options.separator);
  const window = Number(options.window);
  const limits = { device, window, stride: window / 2, rows: 8 };
  const used = ids.slice(0, Number(options["max-tokens"]));
  return perplexity((batch) => model.forward({ ids: batch }), used, limits);
}

const folder = mkdtempSync(join(tmpdir(), "heddle-perplexity-"));
try {
  const model = await openModel(options.model, { device });
  const exact = await measure(model);
  console.log(`F32: perplexity ${exact.perplexity.toFixed(4)} over ${exact.tokens} tokens`);
  for (const type of options.type) {
    const start = performance.now();
    await saveGguf(directorySink(folder), "model.gguf", model, { type, tokenizer: model.tokenizer });
    const ms = performance.now() - start;
    const quantised = await openModel(join(folder, "model.gguf"), { device });
    const { perplexity: value } = await measure(quantised);
    quantised.dispose();
    const rise = 100 * (value / exact.perplexity - 1);
    console.log(
      `${type}: ${value.toFixed(4)}, ${rise > 0 ? "+" : ""}${rise.toFixed(2)} % (written in ${ms.toFixed(0)} ms)`,
    );
  }
  model.dispose();
} finally {
  rmSync(folder, { recursive: true });
}
device.dispose();
