import { type FileSource, openSafetensors, readJson } from "@heddle/checkpoints";
import { type Device, disposeTree, type Tensor } from "@heddle/tensor";
import type { Tokenizer } from "@heddle/tokenizers";
import type { DecoderConfig } from "./config.js";
import { type DecoderInputs, decoderLogits } from "./decoder.js";
import { type GenerationConfig, parseGenerationConfig } from "./generation-config.js";
import { type LoadWeightsOptions, loadWeights } from "./load-weights.js";
import { parseConfig } from "./parse-config.js";
import { readChatTemplate, readTokenizer } from "./read-tokenizer.js";
import type { DecoderWeights } from "./weights.js";

/** A model in memory: configuration, weights, and what belongs to them. */
export interface LoadedModel {
  /** Name of the family, as config.json has it. */
  readonly family: string;
  readonly config: DecoderConfig;
  readonly device: Device;
  readonly weights: DecoderWeights;
  /** Absent where the directory holds no tokenizer. */
  readonly tokenizer?: Tokenizer;
  /** Jinja source, for `renderChat`. */
  readonly chatTemplate?: string;
  readonly generationConfig: GenerationConfig;
  /** Logits [B, T, V] of token ids [B, T]; see `decoderLogits`. */
  forward(inputs: DecoderInputs): Tensor;
  /** Frees the weights. */
  dispose(): void;
}

/**
 * Loads a model from a Hugging Face directory: config.json, safetensors, and, where present, tokenizer, chat template
 * and generation_config.json.
 *
 * @param options.device  where the weights go; stays the caller's
 * @param options.dtype   of the loaded floats; default `device.defaultFloat`, "stored" keeps that of the file
 * @throws HeddleError "format" naming what is missing or damaged; "config" and "unsupported" for a config.json that
 *   describes something else; nothing stays loaded then
 */
export async function loadModel(source: FileSource, options: LoadWeightsOptions): Promise<LoadedModel> {
  const config = parseConfig(await readJson(source, "config.json"));
  const generationConfig = parseGenerationConfig(
    await readOptional(source, "generation_config.json"),
    config,
  );
  const tokenizer = await readTokenizer(source);
  const chatTemplate = await readChatTemplate(source);
  const weights = await loadWeights(config, await openSafetensors(source), options);
  return createModel({ config, weights, device: options.device, tokenizer, chatTemplate, generationConfig });
}

/** Puts a model together from its parts, for example freshly trained weights. */
export function createModel(parts: {
  readonly config: DecoderConfig;
  readonly weights: DecoderWeights;
  readonly device: Device;
  readonly tokenizer?: Tokenizer | undefined;
  readonly chatTemplate?: string | undefined;
  readonly generationConfig?: GenerationConfig;
}): LoadedModel {
  const { config, weights, device, tokenizer, chatTemplate } = parts;
  return {
    family: config.family,
    config,
    device,
    weights,
    ...(tokenizer === undefined ? {} : { tokenizer }),
    ...(chatTemplate === undefined ? {} : { chatTemplate }),
    generationConfig: parts.generationConfig ?? parseGenerationConfig(undefined, config),
    forward: (inputs) => decoderLogits(config, weights, inputs),
    dispose: () => disposeTree(weights),
  };
}

async function readOptional(source: FileSource, name: string): Promise<unknown> {
  return source.list().includes(name) ? readJson(source, name) : undefined;
}
