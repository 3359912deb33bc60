// What quantising costs: perplexity of a model on a text in F32 and in GGUF types.
//   pnpm bench:perplexity --model DIRECTORY --text FILE [--calibrate FILE [--calibration-tokens 16384]]
//     [--type Q4_0]... [--window 128] [--max-tokens N]
// With a text to calibrate on, which must be another one, each type is measured with and without.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { checkNeeded } from "./needed-options.mjs";
import { importSource } from "./sources.mjs";

const { values: options } = parseArgs({
  options: {
    model: { type: "string" },
    text: { type: "string" },
    calibrate: { type: "string" },
    "calibration-tokens": { type: "string", default: "16384" },
    separator: { type: "string", default: "<|endoftext|>" },
    type: { type: "string", multiple: true, default: ["Q8_0", "Q6_K", "Q4_K", "Q4_0"] },
    window: { type: "string", default: "128" },
    "max-tokens": { type: "string", default: "20000" },
  },
});
checkNeeded("perplexity", options, { model: "DIRECTORY", text: "FILE" });
const { calibrate, cpu, directorySink, encodeDocuments, openModel, perplexity, saveGguf } =
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

async function calibrated(model) {
  const used = readFileSync(options.calibrate, "utf8").slice(0, 16 * Number(options["calibration-tokens"]));
  const ids = encodeDocuments(model.tokenizer, used, options.separator);
  const window = Number(options.window);
  return calibrate(model, ids.slice(0, Number(options["calibration-tokens"])), { device, window });
}

const folder = mkdtempSync(join(tmpdir(), "heddle-perplexity-"));
try {
  const model = await openModel(options.model, { device });
  const exact = await measure(model);
  console.log(`F32: perplexity ${exact.perplexity.toFixed(4)} over ${exact.tokens} tokens`);
  const calibration = options.calibrate && (await calibrated(model));
  for (const type of options.type) {
    for (const moments of calibration ? [undefined, calibration] : [undefined]) {
      const start = performance.now();
      const { tokenizer } = model;
      await saveGguf(directorySink(folder), "model.gguf", model, { type, tokenizer, calibration: moments });
      const ms = performance.now() - start;
      const quantised = await openModel(join(folder, "model.gguf"), { device });
      const { perplexity: value } = await measure(quantised);
      quantised.dispose();
      const rise = 100 * (value / exact.perplexity - 1);
      console.log(
        `${type}${moments ? ", calibrated" : ""}: ${value.toFixed(4)}, ${rise > 0 ? "+" : ""}${rise.toFixed(2)} % (written in ${ms.toFixed(0)} ms)`,
      );
    }
  }
  model.dispose();
} finally {
  rmSync(folder, { recursive: true });
}
device.dispose();
