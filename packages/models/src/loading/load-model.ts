import { type FileSource, openSafetensors, readJson } from "@heddle/checkpoints";
import { disposeTree, HeddleError, type Tensor } from "@heddle/tensor";
import type { Tokenizer } from "@heddle/tokenizers";
import type { Architecture, ModelParts, TokenRows } from "../architecture.js";
import type { DecoderConfig, ModelConfig } from "../config.js";
import type { DecoderInputs } from "../decoder/decoder.js";
import { decoder } from "../decoder/decoder-architecture.js";
import { readSentenceModules, type SentenceModules } from "../encoder/sentence-modules.js";
import { findFamily } from "../families/registry.js";
import type { DecoderWeights } from "../weights.js";
import { type GenerationConfig, parseGenerationConfig } from "./generation-config.js";
import { type LoadWeightsOptions, loadTree } from "./load-weights.js";
import { parseModelConfig, storedQuantisation } from "./parse-config.js";
import type { StoredQuantisation } from "./quantised/stored-quantisation.js";
import { readChatTemplate, readTokenizer } from "./read-tokenizer.js";

/** A model in memory, of whatever architecture: configuration, weights, and what belongs to them. */
export interface AnyModel<Config extends ModelConfig = ModelConfig, Weights = unknown>
  extends ModelParts<Config, Weights> {
  /** Name of the family, as config.json has it. */
  readonly family: string;
  /** Absent where the directory holds no tokenizer. */
  readonly tokenizer?: Tokenizer;
  /** Jinja source, for `renderChat`. */
  readonly chatTemplate?: string;
  readonly generationConfig: GenerationConfig;
  /** How the model makes vectors of texts; absent where the directory is none of sentence-transformers. */
  readonly sentenceModules?: SentenceModules;
  /** Logits of token rows on the host, [B, T, V]; the caller disposes them. */
  logits(rows: TokenRows): Tensor;
  /** Frees the weights. */
  dispose(): void;
}

/** A model of one architecture, by default a decoder. */
export interface LoadedModel<
  Config extends ModelConfig = DecoderConfig,
  Weights = DecoderWeights,
  Inputs = DecoderInputs,
> extends AnyModel<Config, Weights> {
  /** Logits [B, T, V] of inputs on the device; see `decoderLogits`. */
  forward(inputs: Inputs): Tensor;
}

/**
 * Loads a decoder from a Hugging Face directory: config.json, safetensors, and, where present, tokenizer, chat template
 * and generation_config.json.
 *
 * @param options.device  where the weights go; stays the caller's
 * @param options.dtype   of the loaded floats; default `device.defaultFloat`, but on the CPU matrices in half precision stay so, which
 *   takes half the memory (training wants "f32"); "stored" keeps all as in the file. MXFP4 experts stay quantised unless a
 *   dtype is named; 8-bit floats become it, on the CPU by default bf16
 * @throws HeddleError "format" naming what is missing or damaged; "config" and "unsupported" for a config.json that
 *   describes something else; nothing stays loaded then
 */
export async function loadModel(source: FileSource, options: LoadWeightsOptions): Promise<LoadedModel> {
  return loadModelOf(decoder, source, options);
}

/** Loads a model of a given architecture; see `loadModel`. @throws HeddleError "unsupported" for one of another */
export async function loadModelOf<Config extends ModelConfig, Weights, Inputs>(
  architecture: Architecture<Config, Weights, Inputs>,
  source: FileSource,
  options: LoadWeightsOptions,
): Promise<LoadedModel<Config, Weights, Inputs>> {
  const described = await readDescription(source);
  const { config } = described;
  const found = findFamily(config.family).architecture;
  if (found.name !== architecture.name) {
    const message = `loadModel: the model must be of architecture "${architecture.name}"; got model_type "${config.family}", which is of architecture "${found.name}". Use loadAnyModel.`;
    throw new HeddleError("unsupported", message, { family: config.family, architecture: found.name });
  }
  return assemble(architecture, await readParts(source, described, options));
}

/** Loads a model of whatever architecture its config.json names; see `loadModel`. */
export async function loadAnyModel(source: FileSource, options: LoadWeightsOptions): Promise<AnyModel> {
  const described = await readDescription(source);
  const { architecture } = findFamily(described.config.family);
  return assemble(architecture, await readParts(source, described, options));
}

/** What config.json says: the model, and how its weights are stored. */
interface Description {
  readonly config: ModelConfig;
  readonly quantisation: StoredQuantisation | undefined;
}

async function readDescription(source: FileSource): Promise<Description> {
  const json = await readJson(source, "config.json");
  return { config: parseModelConfig(json), quantisation: storedQuantisation(json) };
}

/** Reads everything but config.json. The weights are of the kind that the family's architecture builds. */
async function readParts<Config extends ModelConfig, Weights>(
  source: FileSource,
  { config, quantisation }: Description,
  options: LoadWeightsOptions,
): Promise<AssembledParts<Config, Weights>> {
  const json = await readOptional(source, "generation_config.json");
  const generationConfig = parseGenerationConfig(json, config);
  const tokenizer = await readTokenizer(source);
  const chatTemplate = await readChatTemplate(source);
  const sentenceModules = await readSentenceModules(source, options.device);
  const loading = { ...options, quantisation };
  const weights = await loadTree(config, await openSafetensors(source), loading).catch((error: unknown) => {
    disposeTree(sentenceModules?.dense);
    throw error;
  });
  return {
    config: config as Config,
    weights: weights as Weights,
    device: options.device,
    tokenizer,
    chatTemplate,
    generationConfig,
    sentenceModules,
  };
}

interface AssembledParts<Config extends ModelConfig, Weights> extends ModelParts<Config, Weights> {
  readonly tokenizer?: Tokenizer | undefined;
  readonly chatTemplate?: string | undefined;
  readonly generationConfig?: GenerationConfig;
  readonly sentenceModules?: SentenceModules | undefined;
}

/** Puts a decoder together from its parts, for example freshly trained weights. */
export function createModel(parts: AssembledParts<DecoderConfig, DecoderWeights>): LoadedModel {
  return assemble(decoder, parts);
}

/** Puts a model of any architecture together from its parts. */
export function assemble<Config extends ModelConfig, Weights, Inputs>(
  architecture: Architecture<Config, Weights, Inputs>,
  parts: AssembledParts<Config, Weights>,
): LoadedModel<Config, Weights, Inputs> {
  const { config, weights, device, tokenizer, chatTemplate, sentenceModules } = parts;
  return {
    family: config.family,
    config,
    device,
    weights,
    ...(tokenizer === undefined ? {} : { tokenizer }),
    ...(chatTemplate === undefined ? {} : { chatTemplate }),
    ...(sentenceModules === undefined ? {} : { sentenceModules }),
    generationConfig: parts.generationConfig ?? parseGenerationConfig(undefined, config),
    forward: (inputs) => architecture.forward({ config, weights, device }, inputs),
    logits: (rows) => architecture.logits({ config, weights, device }, rows),
    dispose: () => disposeTree([weights, sentenceModules?.dense]),
  };
}

async function readOptional(source: FileSource, name: string): Promise<unknown> {
  return source.list().includes(name) ? readJson(source, name) : undefined;
}
