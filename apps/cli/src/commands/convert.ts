import { stat } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { directorySink } from "@heddle/checkpoints/node";
import { type GgufWeightType, type LoadedModel, saveGguf } from "@heddle/models";
import { HeddleError } from "@heddle/tensor";
import { type Command, Option } from "commander";
import { openNamedModel } from "../named-model.js";
import {
  addModelOptions,
  addOutputOptions,
  createDevice,
  type ModelOptions,
  type OutputOptions,
} from "../options.js";
import { createProgress } from "../progress.js";
import type { Terminal } from "../terminal.js";

interface ConvertOptions extends ModelOptions, OutputOptions {
  readonly model?: string;
  readonly output: string;
  readonly type: GgufWeightType;
  readonly embeddingType?: GgufWeightType;
  readonly pre?: string;
  readonly tokenizer: boolean;
}

const types: readonly GgufWeightType[] = ["F32", "F16", "Q8_0", "Q6_K", "Q4_0", "Q4_K"];

export function addConvert(program: Command, terminal: Terminal): void {
  const command = program
    .command("convert")
    .description("Write a model as a GGUF file, quantised if asked for, that Heddle and llama.cpp load.")
    .option("--model <path>", "a Hugging Face model directory or a GGUF file (default: the embedded model)")
    .requiredOption("--output <file>", "the file to write; ends in .gguf")
    .addOption(new Option("--type <type>", "type of the matrices").choices(types).default("F16"))
    .addOption(
      new Option(
        "--embedding-type <type>",
        "type of the embedding (default: Q6_K where --type has four bits)",
      ).choices(types),
    )
    .option(
      "--pre <name>",
      "llama.cpp's name for the tokenizer's split into words, if it cannot be found out",
    )
    .option("--no-tokenizer", "leave the tokenizer out");
  addOutputOptions(addModelOptions(command)).action(async (options: ConvertOptions) => {
    checkOutput(options.output);
    const device = await createDevice(options);
    try {
      const { model, name } = await openNamedModel(options.model, {
        device,
        terminal,
        packedCache: options.packedCache,
      });
      await convert(model, { ...options, name }, terminal);
      const { size } = await stat(options.output);
      const summary = { output: options.output, type: options.type, bytes: size };
      await terminal.print(
        options.json ? `${JSON.stringify(summary)}\n` : `${options.output}: ${(size / 1e6).toFixed(1)} MB\n`,
      );
    } finally {
      device.dispose();
    }
  });
}

function checkOutput(output: string): void {
  if (output.toLowerCase().endsWith(".gguf")) return;
  const message = `convert: --output must name a GGUF file; got "${output}". End it with .gguf.`;
  throw new HeddleError("config", message, { output });
}

async function convert(
  model: LoadedModel,
  {
    output,
    type,
    embeddingType,
    pre,
    tokenizer,
    name,
    progress: isForced = false,
  }: ConvertOptions & { readonly name: string },
  terminal: Terminal,
): Promise<void> {
  const progress = createProgress(terminal, { format: "write {bar} {percentage} %", total: 1, isForced });
  try {
    await saveGguf(directorySink(dirname(output)), basename(output), model, {
      type,
      name,
      ...(embeddingType === undefined ? {} : { embeddingType }),
      ...(pre === undefined ? {} : { pre }),
      ...(tokenizer && model.tokenizer !== undefined ? { tokenizer: model.tokenizer } : {}),
      ...(model.chatTemplate === undefined ? {} : { chatTemplate: model.chatTemplate }),
      onProgress: ({ writtenBytes, totalBytes }) => {
        terminal.signal.throwIfAborted();
        progress.update(writtenBytes / totalBytes);
      },
    });
  } finally {
    progress.stop();
  }
}
