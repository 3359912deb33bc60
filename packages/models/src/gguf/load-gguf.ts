import { type FileSource, openGguf } from "@heddle/checkpoints";
import type { Tokenizer } from "@heddle/tokenizers";
import { createModel, type LoadedModel } from "../loading/load-model.js";
import type { LoadWeightsOptions } from "../loading/load-weights.js";
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
  const files = await openGguf(source, file);
  const fields = ggufFields(files.metadata);
  const family = ggufFamilyOf(fields.architecture);
  const config = await ggufConfig(files, family, fields);
  const weights = await loadGgufWeights(config, files, { ...options, family });
  const chatTemplate = fields.optionalText("tokenizer.chat_template");
  const model = createModel({ config, weights, device: options.device, chatTemplate });
  return fields.has("tokenizer.ggml.tokens") ? withTokenizer(model, fields) : model;
}

/** Builds the tokenizer when it is first used: with a vocabulary of 150,000 that takes as long as reading the weights. */
function withTokenizer(model: LoadedModel, fields: GgufFields): LoadedModel {
  let built: { readonly tokenizer: Tokenizer | undefined } | undefined;
  return Object.defineProperty(model, "tokenizer", {
    enumerable: true,
    get() {
      built ??= { tokenizer: ggufTokenizer(fields) };
      return built.tokenizer;
    },
  });
}
