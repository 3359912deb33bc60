import { readFile } from "node:fs/promises";
import type { LoadedModel } from "@heddle/models";
import { HeddleError } from "@heddle/tensor";
import { perplexity } from "@heddle/train";
import type { Command } from "commander";
import { encodeDocuments } from "../encode-documents.js";
import { openNamedModel } from "../named-model.js";
import {
  addModelOptions,
  addOutputOptions,
  createDevice,
  type ModelOptions,
  type OutputOptions,
  parseCount,
} from "../options.js";
import { createProgress } from "../progress.js";
import type { Terminal } from "../terminal.js";

interface EvalOptions extends ModelOptions, OutputOptions {
  readonly model?: string;
  readonly text: string;
  readonly separator?: string;
  readonly window?: number;
  readonly stride?: number;
  readonly rows: number;
  readonly maxTokens?: number;
}

export function addEval(program: Command, terminal: Terminal): void {
  const command = program
    .command("eval")
    .description(
      "Measure the perplexity of a model on a text, by overlapping windows that count each token once.",
    )
    .option("--model <path>", "a Hugging Face model directory or a GGUF file (default: the embedded model)")
    .requiredOption("--text <file>", "a UTF-8 text file")
    .option("--separator <text>", "what stands between two documents: each is encoded by itself")
    .option(
      "--window <n>",
      "most tokens that a prediction sees (default: the model's longest sequence)",
      parseCount,
    )
    .option("--stride <n>", "tokens between windows (default: half a window)", parseCount)
    .option("--rows <n>", "windows that run together", parseCount, 8)
    .option("--max-tokens <n>", "use only so many tokens of the text", parseCount);
  addOutputOptions(addModelOptions(command)).action(async (options: EvalOptions) => {
    const device = await createDevice(options);
    try {
      const { model } = await openNamedModel(options.model, {
        device,
        terminal,
        packedCache: options.packedCache,
      });
      const summary = await evaluate(model, options, terminal);
      await terminal.print(options.json ? `${JSON.stringify(summary)}\n` : describe(summary));
    } finally {
      device.dispose();
    }
  });
}

interface EvalSummary {
  readonly perplexity: number;
  /** In nats a token. */
  readonly loss: number;
  readonly tokens: number;
  readonly window: number;
  readonly stride: number;
}

async function evaluate(model: LoadedModel, options: EvalOptions, terminal: Terminal): Promise<EvalSummary> {
  const { tokenizer, config, device } = model;
  if (tokenizer === undefined) {
    const message =
      "eval: the model must have a tokenizer; got a directory without one. Put tokenizer.json beside it.";
    throw new HeddleError("config", message);
  }
  const text = await readFile(options.text, "utf8");
  const ids = encodeDocuments(tokenizer, text, options.separator).slice(0, options.maxTokens);
  const { window: asked = config.maxSeqLen, rows } = options;
  const window = Math.min(asked, config.maxSeqLen, Math.max(2, ids.length));
  const stride = Math.min(options.stride ?? Math.max(1, Math.floor(window / 2)), window);
  const progress = createProgress(terminal, {
    format: "eval {bar} {value}/{total} windows",
    total: Math.ceil(Math.max(0, ids.length - window) / stride) + 1,
    isForced: options.progress ?? false,
  });
  try {
    const { signal } = terminal;
    const onProgress = ({ done }: { readonly done: number }) => progress.update(done);
    const limits = { device, window, stride, rows, signal, onProgress };
    const {
      perplexity: value,
      loss,
      tokens,
    } = await perplexity((batch) => model.forward({ ids: batch }), ids, limits);
    return { perplexity: value, loss, tokens, window, stride };
  } finally {
    progress.stop();
  }
}

function describe({ perplexity: value, loss, tokens, window, stride }: EvalSummary): string {
  return `perplexity ${value.toFixed(4)} (${loss.toFixed(4)} nats a token over ${tokens} tokens; window ${window}, stride ${stride})\n`;
}
