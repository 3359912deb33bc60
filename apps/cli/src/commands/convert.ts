import { readFile, stat } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { directorySink } from "@heddle/checkpoints/node";
import {
  calibrate,
  type GgufWeightType,
  type LoadedModel,
  type SaveGgufOptions,
  saveGguf,
} from "@heddle/models";
import { HeddleError } from "@heddle/tensor";
import { type Command, Option } from "commander";
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

interface ConvertOptions extends ModelOptions, OutputOptions {
  readonly model?: string;
  readonly output: string;
  readonly type: GgufWeightType;
  readonly embeddingType?: GgufWeightType;
  readonly calibrate?: string;
  readonly separator?: string;
  readonly calibrationTokens: number;
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
      "--calibrate <file>",
      "a UTF-8 text like those that the model will meet: weights are quantised with regard to what it makes them see (GPTQ)",
    )
    .option("--separator <text>", "what stands between two documents of that text")
    .option("--calibration-tokens <n>", "use so many tokens of it", parseCount, 16384)
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

/** What weights see while the model reads a text, where one is given. */
async function calibrationOf(
  model: LoadedModel,
  { calibrate: file, separator, calibrationTokens, progress: isForced = false }: ConvertOptions,
  terminal: Terminal,
): Promise<Pick<SaveGgufOptions, "calibration">> {
  if (file === undefined) return {};
  const { tokenizer, config, device } = model;
  if (tokenizer === undefined) {
    const message = `convert: --calibrate needs a tokenizer; got a model without one and --calibrate ${file}. Put tokenizer.json beside it.`;
    throw new HeddleError("config", message, { calibrate: file });
  }
  // A token has seldom more than sixteen bytes: the rest of a long text need not be encoded.
  const text = (await readFile(file, "utf8")).slice(0, 16 * calibrationTokens);
  const ids = encodeDocuments(tokenizer, text, separator).slice(0, calibrationTokens);
  const window = Math.min(256, config.maxSeqLen, Math.max(1, ids.length));
  const progress = createProgress(terminal, { format: "calibrate {bar} {percentage} %", total: 1, isForced });
  const { signal } = terminal;
  try {
    const onProgress = ({ done, total }: { readonly done: number; readonly total: number }) =>
      progress.update(done / total);
    return { calibration: await calibrate(model, ids, { device, window, signal, onProgress }) };
  } finally {
    progress.stop();
  }
}

async function convert(
  model: LoadedModel,
  options: ConvertOptions & { readonly name: string },
  terminal: Terminal,
) {
  const { output, type, embeddingType, pre, tokenizer, name, progress: isForced = false } = options;
  const calibration = await calibrationOf(model, options, terminal);
  const progress = createProgress(terminal, { format: "write {bar} {percentage} %", total: 1, isForced });
  try {
    await saveGguf(directorySink(dirname(output)), basename(output), model, {
      type,
      name,
      ...calibration,
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
