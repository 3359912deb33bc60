import { basename, dirname } from "node:path";
import { loadTensors, openSafetensors } from "@heddle/checkpoints";
import { directorySource } from "@heddle/checkpoints/node";
import type { TokenRows } from "@heddle/models";
import { disposeTree, HeddleError, reference, type Tensor } from "@heddle/tensor";
import type { Command } from "commander";
import { parseRows } from "./options.js";

type Rows = readonly (readonly number[])[];

/** Options that say what a model reads. */
export interface InputOptions {
  readonly ids?: Rows;
  readonly attentionMask?: Rows;
  readonly tokenTypeIds?: Rows;
  readonly decoderIds?: Rows;
  readonly decoderAttentionMask?: Rows;
  readonly inputs?: string;
}

/** What a model reads: token rows as plain arrays, and frames. */
export interface Inputs extends TokenRows {
  readonly ids: Rows;
  readonly attentionMask?: Rows;
  readonly decoderIds?: Rows;
}

export function addInputOptions(command: Command): Command {
  return command
    .option("--ids <json>", "token ids, rows of one length: [[1, 2, 3]]", parseRows)
    .option("--attention-mask <json>", "1 for tokens, 0 for padding, in the form of the ids", parseRows)
    .option("--decoder-ids <json>", "what the decoder of an encoder-decoder has seen so far", parseRows)
    .option(
      "--inputs <file>",
      "a safetensors file with input_ids, attention_mask, token_type_ids, decoder_input_ids, decoder_attention_mask, input_features (frames of sound), perm_mask or target_mapping",
    );
}

/**
 * The inputs that options and their file hold; options go before.
 *
 * @throws HeddleError "config" for a file of other tensors, and where there is nothing to read
 */
export async function readInputs({ inputs: file, ...options }: InputOptions): Promise<Inputs> {
  const stored = file === undefined ? {} : await readFile(file);
  const given = Object.fromEntries(Object.entries(options).filter(([, rows]) => rows !== undefined));
  const inputs = { ids: [], ...stored, ...pickRows(given) };
  if (inputs.ids.length > 0 || "frames" in inputs) return inputs;
  const message =
    "inputs: a model needs something to read; got no ids. Pass --ids '[[1, 2, 3]]' or --inputs FILE.";
  throw new HeddleError("config", message, {});
}

function pickRows(options: InputOptions): Partial<Inputs> {
  const { ids, attentionMask, tokenTypeIds, decoderIds, decoderAttentionMask } = options;
  const all = { ids, attentionMask, tokenTypeIds, decoderIds, decoderAttentionMask };
  return Object.fromEntries(Object.entries(all).filter(([, rows]) => rows !== undefined));
}

/** The names of transformers' inputs, and ours. */
const arrayNames = new Map<string, keyof TokenRows>([
  ["input_features", "frames"],
  ["perm_mask", "hidden"],
  ["target_mapping", "targets"],
]);
const rowNames = new Map<string, keyof InputOptions>([
  ["input_ids", "ids"],
  ["attention_mask", "attentionMask"],
  ["token_type_ids", "tokenTypeIds"],
  ["decoder_input_ids", "decoderIds"],
  ["decoder_attention_mask", "decoderAttentionMask"],
]);

async function readFile(file: string): Promise<Partial<Inputs>> {
  if (!file.endsWith(".safetensors")) {
    const message = `inputs: --inputs must name a safetensors file; got "${file}". End it with .safetensors.`;
    throw new HeddleError("config", message, { inputs: file });
  }
  const base = basename(file).slice(0, -".safetensors".length);
  const files = await openSafetensors(directorySource(dirname(file)), { base });
  const device = reference();
  const tensors = await loadTensors(files, { device });
  try {
    const entries = Object.entries(tensors).map(async ([name, x]) => {
      const array = arrayNames.get(name);
      if (array !== undefined && x.rank === 3)
        return [array, { data: Float32Array.from(await x.data()), shape: x.shape }] as const;
      const key = rowNames.get(name);
      if (key !== undefined && x.rank === 2) return [key, await rowsOf(x)] as const;
      const known = [...rowNames.keys(), ...arrayNames.keys()].join(", ");
      const message = `inputs: tensors of ${file} must be arrays of two axes, or of three for the last, named ${known}; got ${name} of shape [${x.shape}]. Leave it out or rename it.`;
      throw new HeddleError("config", message, { name, shape: x.shape });
    });
    return Object.fromEntries(await Promise.all(entries));
  } finally {
    disposeTree(tensors);
    device.dispose();
  }
}

async function rowsOf(x: Tensor): Promise<number[][]> {
  const data = await x.data();
  const [count = 0, width = 0] = x.shape;
  return Array.from({ length: count }, (_, row) => [...data.subarray(row * width, (row + 1) * width)]);
}

/** Rows without their padding. */
export function tokensIn(rows: Rows, mask: Rows | undefined): number[][] {
  return rows.map((row, at) => row.filter((_, t) => mask?.[at]?.[t] !== 0));
}

/** Refuses ids that the model does not have. @throws HeddleError "config" */
export function checkIds(command: string, rows: Rows, vocabSize: number): void {
  const bad = rows.flat().find((id) => id < 0 || id >= vocabSize);
  if (bad === undefined) return;
  const message = `${command}: ids must be in 0..${vocabSize - 1}; got ${bad}. Encode the text with this model's own tokenizer.`;
  throw new HeddleError("config", message, { id: bad, vocabSize });
}
