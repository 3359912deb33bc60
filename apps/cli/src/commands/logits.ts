import { mkdir } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { saveTensors } from "@heddle/checkpoints";
import { directorySink } from "@heddle/checkpoints/node";
import type { TokenRows } from "@heddle/models";
import { HeddleError, type Tensor } from "@heddle/tensor";
import type { Command } from "commander";
import { openAnyNamedModel } from "../named-model.js";
import { addDeviceOptions, createDevice, type DeviceOptions, parseRows } from "../options.js";
import type { Terminal } from "../terminal.js";

interface LogitsOptions extends DeviceOptions {
  readonly model: string;
  readonly ids: number[][];
  readonly attentionMask?: number[][];
  readonly tokenTypeIds?: number[][];
  readonly decoderIds?: number[][];
  readonly decoderAttentionMask?: number[][];
  readonly out?: string;
}

export function addLogits(program: Command, terminal: Terminal): void {
  const command = program
    .command("logits")
    .description(
      'Print the logits of token ids as JSON {"shape":[..],"logits":[..]}, or write them to a file: [B, T, V] of tokens, [B, C] of classes.',
    )
    .requiredOption("--model <path>", "a Hugging Face model directory or a GGUF file")
    .requiredOption("--ids <json>", "token ids, rows of one length: [[1, 2, 3]]", parseRows)
    .option("--attention-mask <json>", "1 for tokens, 0 for padding, in the form of the ids", parseRows)
    .option("--token-type-ids <json>", "which part of the input each token belongs to (encoders)", parseRows)
    .option("--decoder-ids <json>", "what the decoder of an encoder-decoder has seen so far", parseRows)
    .option("--decoder-attention-mask <json>", "1 for tokens, 0 for padding of the decoder ids", parseRows)
    .option("--out <file>", 'write a safetensors file with the tensor "logits" instead of printing')
    .option("--json", "accepted for uniformity: output is always JSON");
  addDeviceOptions(command).action(async (options: LogitsOptions) => {
    const device = await createDevice(options);
    try {
      const model = await openAnyNamedModel(options.model, { device, terminal });
      checkIds(options.ids, model.config.vocabSize);
      using logits = model.logits(rowsOf(options));
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

/** The rows that were given. */
function rowsOf(options: LogitsOptions): TokenRows {
  const { ids, attentionMask, tokenTypeIds, decoderIds, decoderAttentionMask } = options;
  return {
    ids,
    ...(attentionMask === undefined ? {} : { attentionMask }),
    ...(tokenTypeIds === undefined ? {} : { tokenTypeIds }),
    ...(decoderIds === undefined ? {} : { decoderIds }),
    ...(decoderAttentionMask === undefined ? {} : { decoderAttentionMask }),
  };
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

function checkIds(rows: readonly (readonly number[])[], vocabSize: number): void {
  const bad = rows.flat().find((id) => id < 0 || id >= vocabSize);
  if (bad === undefined) return;
  const message = `logits: ids must be in 0..${vocabSize - 1}; got ${bad}. Encode the text with this model's own tokenizer.`;
  throw new HeddleError("config", message, { id: bad, vocabSize });
}
