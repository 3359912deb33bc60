import { type FileSource, openGguf } from "@heddle/checkpoints";
import { type Device, HeddleError } from "@heddle/tensor";
import type { Tokenizer } from "@heddle/tokenizers";
import type { Pooling } from "../encoder/pooling.js";
import type { SentenceModules } from "../encoder/sentence-modules.js";
import { findFamily } from "../families/registry.js";
import { type AnyModel, assemble, createModel, type LoadedModel } from "../loading/load-model.js";
import type { LoadWeightsOptions } from "../loading/load-weights.js";
import { isDecoderConfig } from "../loading/parse-config.js";
import type { DecoderWeights } from "../weights.js";
import { ggufConfig } from "./gguf-config.js";
import { type GgufFields, ggufFields } from "./gguf-fields.js";
import { ggufTokenizer } from "./gguf-tokenizer.js";
import { loadGgufWeights } from "./load-gguf-weights.js";
import { ggufFamilyOf } from "./registry.js";

/**
 * Loads a model from a GGUF file: configuration, weights, tokenizer and chat template, all from the one file (of a split
 * model, any of its parts is named and all are read).
 *
 * @param file  name in the source
 * @param options.device  where the weights go; stays the caller's
 * @param options.dtype   of tensors stored as floats; default `device.defaultFloat`, but on the CPU matrices in half precision
 *   stay so; "stored" keeps all as in the file
 * @throws HeddleError "format" naming the field, tensor or byte that is wrong; "unsupported" for an architecture that Heddle
 *   lacks; nothing stays loaded then. The tokenizer is built when it is first asked for, and throws the same.
 */
export async function loadGguf(
  source: FileSource,
  file: string,
  options: LoadWeightsOptions,
): Promise<LoadedModel> {
  const opened = await openDescription(source, file, options.device);
  const { config, fields } = opened;
  if (!isDecoderConfig(config)) {
    const message = `loadGguf: the model must be a decoder; got general.architecture "${fields.architecture}". Use loadAnyGguf.`;
    throw new HeddleError("unsupported", message, { architecture: fields.architecture });
  }
  const weights = (await loadGgufWeights(config, opened.files, {
    ...options,
    family: opened.family,
  })) as DecoderWeights;
  const chatTemplate = fields.optionalText("tokenizer.chat_template");
  return withTokenizer(createModel({ config, weights, device: options.device, chatTemplate }), fields);
}

/** Loads a model of whatever architecture from a GGUF file; see `loadGguf`. Encoders (BERT) make vectors of texts. */
export async function loadAnyGguf(
  source: FileSource,
  file: string,
  options: LoadWeightsOptions,
): Promise<AnyModel> {
  const { files, fields, family, config } = await openDescription(source, file, options.device);
  const { architecture } = findFamily(config.family);
  const weights = await loadGgufWeights(config, files, { ...options, family });
  const chatTemplate = fields.optionalText("tokenizer.chat_template");
  const model = assemble(architecture, { config, weights, device: options.device, chatTemplate });
  return withTokenizer({ ...model, ...sentenceModules(fields) }, fields);
}

/** Everything but the weights. The device's threads start meanwhile. */
async function openDescription(source: FileSource, file: string, device: Device) {
  device.start?.();
  const files = await openGguf(source, file);
  const fields = ggufFields(files.metadata);
  const family = ggufFamilyOf(fields.architecture);
  return { files, fields, family, config: await ggufConfig(files, family, fields) };
}

/** Poolings by llama.cpp's number; 0 and 4 (none, ranks) make no vectors. */
const poolings: readonly (Pooling | undefined)[] = [undefined, "mean", "first", "last"];

/** How the file says that vectors of texts are made. */
function sentenceModules(fields: GgufFields): { readonly sentenceModules?: SentenceModules } {
  const pooling = poolings[fields.optionalNumber(".pooling_type") ?? 0];
  if (pooling === undefined) return {};
  return {
    sentenceModules: {
      poolings: [pooling],
      isNormalized: true,
      isLowercased: false,
      prompts: {},
      dense: [],
      unknownModules: [],
    },
  };
}

/** Builds the tokenizer when it is first used: with a vocabulary of 150,000 that takes as long as reading the weights. */
function withTokenizer<Model extends AnyModel>(model: Model, fields: GgufFields): Model {
  if (!fields.has("tokenizer.ggml.tokens")) return model;
  let built: { readonly tokenizer: Tokenizer | undefined } | undefined;
  return Object.defineProperty(model, "tokenizer", {
    enumerable: true,
    get() {
      built ??= { tokenizer: ggufTokenizer(fields) };
      return built.tokenizer;
    },
  });
}
