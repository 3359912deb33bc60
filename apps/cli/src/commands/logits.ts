import { mkdir } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { saveTensors } from "@heddle/checkpoints";
import { directorySink } from "@heddle/checkpoints/node";
import { HeddleError, type Tensor } from "@heddle/tensor";
import type { Command } from "commander";
import { addInputOptions, checkIds, type InputOptions, readInputs } from "../model-inputs.js";
import { openAnyNamedModel } from "../named-model.js";
import { addModelOptions, createDevice, type ModelOptions, parseRows } from "../options.js";
import type { Terminal } from "../terminal.js";

interface LogitsOptions extends ModelOptions, InputOptions {
  readonly model: string;
  readonly out?: string;
}

export function addLogits(program: Command, terminal: Terminal): void {
  const command = program
    .command("logits")
    .description(
      'Print the logits of token ids as JSON {"shape":[..],"logits":[..]}, or write them to a file: [B, T, V] of tokens, [B, C] of classes.',
    )
    .requiredOption("--model <path>", "a Hugging Face model directory or a GGUF file")
    .option("--token-type-ids <json>", "which part of the input each token belongs to (encoders)", parseRows)
    .option("--decoder-attention-mask <json>", "1 for tokens, 0 for padding of the decoder ids", parseRows)
    .option("--out <file>", 'write a safetensors file with the tensor "logits" instead of printing')
    .option("--json", "accepted for uniformity: output is always JSON");
  addModelOptions(addInputOptions(command)).action(async (options: LogitsOptions) => {
    const device = await createDevice(options);
    try {
      const model = await openAnyNamedModel(options.model, {
        device,
        terminal,
        packedCache: options.packedCache,
      });
      const inputs = await readInputs(options);
      checkIds("logits", inputs.ids, model.config.vocabSize);
      using logits = model.logits(inputs);
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
  return { shape: logits.shape, logits: nested(await logits.data(), logits.shape) };
}

type Nested = readonly number[] | readonly Nested[];

function nested(
  values: Awaited<ReturnType<Tensor["data"]>>,
  [count = 1, ...rest]: readonly number[],
): Nested {
  if (rest.length === 0) return [...values];
  const size = values.length / count;
  return Array.from({ length: count }, (_, at) => nested(values.subarray(at * size, (at + 1) * size), rest));
}
