import { HeddleError } from "@heddle/tensor";
import type { GgufFamily } from "../gguf-family.js";
import { sharedFields, sharedJson } from "../gguf-json.js";
import { numberAt } from "../json-numbers.js";
import { decoderRules } from "./decoder-rules.js";

/**
 * Llama, Mistral and others of this form. llama.cpp rotates neighbouring features (2i, 2i + 1), so its files hold the rows of
 * queries and keys in that order.
 *
 * @see https://github.com/ggml-org/llama.cpp, conversion of LlamaForCausalLM: `permute`
 */
export const llama: GgufFamily = {
  architecture: "llama",
  modelType: "llama",
  writes: ["mistral"],
  toJson: (model) => ({
    ...sharedJson(model),
    attention_bias: model.shapeOf("blk.0.attn_q.bias") !== undefined,
    mlp_bias: model.shapeOf("blk.0.ffn_down.bias") !== undefined,
  }),
  toFields(json) {
    const window = numberAt(json, "sliding_window") ?? Number.POSITIVE_INFINITY;
    if (window < numberAt(json, "max_position_embeddings", 0)) {
      const message = `saveGguf: a "llama" file has no field for a window of attention; got sliding_window ${window}. Shorten max_position_embeddings to it, or save the model as safetensors.`;
      throw new HeddleError("unsupported", message, { sliding_window: window });
    }
    return sharedFields(json);
  },
  rules: decoderRules({ hasPairedRows: true }),
};
