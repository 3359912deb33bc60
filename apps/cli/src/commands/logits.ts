import { mkdir } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { saveTensors } from "@heddle/checkpoints";
import { directorySink } from "@heddle/checkpoints/node";
import { HeddleError, type Tensor } from "@heddle/tensor";
import type { Command } from "commander";
import { openAnyNamedModel } from "../named-model.js";
import { addDeviceOptions, createDevice, type DeviceOptions, parseRows } from "../options.js";
import type { Terminal } from "../terminal.js";

interface LogitsOptions extends DeviceOptions {
  readonly model: string;
  readonly ids: number[][];
  readonly attentionMask?: number[][];
  readonly out?: string;
}

export function addLogits(program: Command, terminal: Terminal): void {
  const command = program
    .command("logits")
    .description(
      'Print the logits [B, T, V] of token ids as JSON {"shape":[..],"logits":[..]}, or write them to a file.',
    )
    .requiredOption("--model <path>", "a Hugging Face model directory or a GGUF file")
    .requiredOption("--ids <json>", "token ids, rows of one length: [[1, 2, 3]]", parseRows)
    .option("--attention-mask <json>", "1 for tokens, 0 for padding, in the form of the ids", parseRows)
    .option("--out <file>", 'write a safetensors file with the tensor "logits" instead of printing')
    .option("--json", "accepted for uniformity: output is always JSON");
  addDeviceOptions(command).action(async (options: LogitsOptions) => {
    const device = await createDevice(options);
    try {
      const model = await openAnyNamedModel(options.model, { device, terminal });
      checkIds(options.ids, model.config.vocabSize);
      const { ids, attentionMask } = options;
      using logits = model.logits({ ids, ...(attentionMask === undefined ? {} : { attentionMask }) });
      if (options.out === undefined) await terminal.print(`${JSON.stringify(await toJson(logits))}\n`);
      else await write(options.out, logits);
    } finally {
      device.dispose();
    }
  });
}

async function write(file: string, logits: Tensor): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  using stored = logits.dtype === "f64" ? logits.cast("f64") : logits.cast("f32");
  const name = basename(file);
  if (!name.endsWith(".safetensors")) {
    const message = `logits: --out must name a safetensors file; got "${file}". End it with .safetensors.`;
    throw new HeddleError("config", message, { out: file });
  }
  await saveTensors(
    directorySink(dirname(file)),
    { logits: stored },
    { base: name.slice(0, -".safetensors".length) },
  );
}

/** Nested arrays; JSON has no NaN, so a logit that is not finite becomes null. */
async function toJson(logits: Tensor) {
  const [numRows = 0, numTokens = 0, vocabSize = 0] = logits.shape;
  const values = await logits.data();
  const rows = Array.from({ length: numRows }, (_, row) =>
    Array.from({ length: numTokens }, (__, token) => {
      const start = (row * numTokens + token) * vocabSize;
      return [...values.subarray(start, start + vocabSize)];
    }),
  );
  return { shape: logits.shape, logits: rows };
}

function checkIds(rows: readonly (readonly number[])[], vocabSize: number): void {
  const bad = rows.flat().find((id) => id < 0 || id >= vocabSize);
  if (bad === undefined) return;
  const message = `logits: ids must be in 0..${vocabSize - 1}; got ${bad}. Encode the text with this model's own tokenizer.`;
  throw new HeddleError("config", message, { id: bad, vocabSize });
}
