import type { GgufFamily } from "../gguf-family.js";
import { sharedFields, sharedJson } from "../gguf-json.js";
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
  toJson: (model) => ({
    ...sharedJson(model),
    attention_bias: model.shapeOf("blk.0.attn_q.bias") !== undefined,
    mlp_bias: model.shapeOf("blk.0.ffn_down.bias") !== undefined,
  }),
  toFields: sharedFields,
  rules: decoderRules({ hasPairedRows: true }),
};
