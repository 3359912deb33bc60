import { HeddleError } from "@heddle/tensor";
import type { z } from "zod";
import { type DecoderConfig, freezeConfig, type ModelConfig } from "../config.js";
import { decoder } from "../decoder/decoder-architecture.js";
import type { AnyFamily } from "../families/family.js";
import { findFamily } from "../families/registry.js";
import { parseStoredQuantisation, type StoredQuantisation } from "./quantised/stored-quantisation.js";
import { shownValue } from "./shown-value.js";

/** Keys that every config.json may hold and that do not change what a decoder computes. */
const inertKeys = new Set([
  "_attn_implementation_autoset",
  "_commit_hash",
  "_name_or_path",
  "architectures",
  "auto_map",
  "bad_words_ids",
  "begin_suppress_tokens",
  "chunk_size_feed_forward",
  "decoder_start_token_id",
  "diversity_penalty",
  "do_sample",
  "dtype",
  "early_stopping",
  "encoder_no_repeat_ngram_size",
  "exponential_decay_length_penalty",
  "finetuning_task",
  "forced_bos_token_id",
  "forced_eos_token_id",
  "id2label",
  "label2id",
  "length_penalty",
  "max_length",
  "min_length",
  "model_type",
  "no_repeat_ngram_size",
  "num_beam_groups",
  "num_beams",
  "num_return_sequences",
  "output_attentions",
  "output_hidden_states",
  "output_scores",
  "prefix",
  "problem_type",
  "pruned_heads",
  // Read by whoever loads the weights.
  "quantization_config",
  "remove_invalid_values",
  "repetition_penalty",
  "return_dict",
  "return_dict_in_generate",
  "sep_token_id",
  "suppress_tokens",
  "task_specific_params",
  "temperature",
  "tf_legacy_loss",
  "tokenizer_class",
  "top_k",
  "top_p",
  "torch_dtype",
  "torchscript",
  "transformers.js_config",
  "transformers_version",
  "typical_p",
  "use_bfloat16",
  "use_cache",
]);

/**
 * Reads the `config.json` of a decoder, in its current and in older forms; `parseModelConfig` reads that of any architecture.
 *
 * Nothing is skipped silently: a key that is neither understood nor known to be without effect is an error, unless it is
 * null or false.
 * @throws HeddleError "unsupported" for an unknown model_type and for one that is no decoder; "config" listing every
 *   problem of the file at once
 */
export function parseConfig(json: unknown): DecoderConfig {
  const config = parseModelConfig(json);
  const { modelType, architecture } = findFamily(config.family);
  if (isDecoderConfig(config)) return config;
  const message = `parseConfig: the model must be a decoder; got model_type "${modelType}", which is of architecture "${architecture.name}". Use parseModelConfig, or loadAnyModel for the whole model.`;
  throw new HeddleError("unsupported", message, { modelType, architecture: architecture.name });
}

/** Whether a configuration is that of a decoder. */
export function isDecoderConfig(config: ModelConfig): config is DecoderConfig {
  return findFamily(config.family).architecture.name === decoder.name;
}

/** Reads a Hugging Face `config.json` of any architecture; see `parseConfig`. */
export function parseModelConfig(json: unknown): ModelConfig {
  const record = asRecord(json);
  const family = findFamily(record.model_type);
  parseStoredQuantisation(record.quantization_config);
  const problems = unknownKeys(record, family);
  const parsed = family.schema.safeParse(record);
  problems.push(
    ...(parsed.success
      ? numbersBeyondFloat32(parsed.data)
      : parsed.error.issues.map((issue) => issueText(issue, record))),
  );
  if (!parsed.success || problems.length > 0) {
    const message = `parseConfig: config.json must describe a ${family.modelType} model that Heddle computes; got ${problems.join("; ")}. Mend these keys.`;
    throw new HeddleError("config", message, { modelType: family.modelType, problems });
  }
  return freezeConfig(family.toConfig(parsed.data));
}

/** How the checkpoint beside a `config.json` stores its weights in fewer bits, if it does. */
export function storedQuantisation(json: unknown): StoredQuantisation | undefined {
  return parseStoredQuantisation(asRecord(json).quantization_config);
}

/** Writes a configuration as the `config.json` of its family. */
export function configToJson(config: ModelConfig): Record<string, unknown> {
  const family = findFamily(config.family);
  return { architectures: [family.className], model_type: family.modelType, ...family.toJson(config) };
}

function unknownKeys(record: Readonly<Record<string, unknown>>, family: AnyFamily): string[] {
  const understood = new Set([...Object.keys(family.schema.shape), ...family.inertKeys]);
  return Object.entries(record)
    .filter(
      ([key, value]) => !understood.has(key) && !inertKeys.has(key) && value !== null && value !== false,
    )
    .map(([key, value]) => `unknown key ${key} = ${shownValue(value)}`);
}

/** Smallest and largest size of a number that float32 holds in full. */
const [leastFloat32, mostFloat32] = [2 ** -126, (2 - 2 ** -23) * 2 ** 127];

/** Numbers that models, which compute in float32, would take for infinite or for 0, at any depth. */
function numbersBeyondFloat32(
  value: unknown,
  path: readonly string[] = [],
  above: readonly unknown[] = [],
): string[] {
  if (typeof value === "number") {
    const size = Math.abs(value);
    if (size === 0 || (size >= leastFloat32 && size <= mostFloat32)) return [];
    return [`${path.join(".")} = ${value} (Invalid input: expected 0 or a size from 1.2e-38 to 3.4e38)`];
  }
  const children = asValue(value);
  if (children === undefined || above.includes(value)) return [];
  return Object.entries(children).flatMap(([key, child]) =>
    numbersBeyondFloat32(child, [...path, key], [...above, value]),
  );
}

function issueText(issue: z.core.$ZodIssue, record: Readonly<Record<string, unknown>>): string {
  const value = issue.path.reduce<unknown>((at, key) => asValue(at)?.[key], record);
  return `${issue.path.join(".")} = ${shownValue(value)} (${issue.message})`;
}

function asValue(value: unknown): Readonly<Record<PropertyKey, unknown>> | undefined {
  return typeof value === "object" && value !== null ? (value as Record<PropertyKey, unknown>) : undefined;
}

function asRecord(json: unknown): Readonly<Record<string, unknown>> {
  if (typeof json === "object" && json !== null && !Array.isArray(json))
    return json as Record<string, unknown>;
  const message = `parseConfig: config.json must hold an object; got ${shownValue(json)}. Pass the parsed file.`;
  throw new HeddleError("config", message, {});
}
