import type { GgufValue } from "@heddle/checkpoints";
import type { GgufFamily } from "../gguf-family.js";
import { numberAt, shortest } from "../json-numbers.js";
import { both, decoderRules } from "./decoder-rules.js";

const sizes = [
  [".context_length", "n_positions"],
  [".embedding_length", "n_embd"],
  [".feed_forward_length", "n_inner"],
  [".block_count", "n_layer"],
  [".attention.head_count", "n_head"],
] as const;

/** GPT-2: learned positions, layer norms, one matrix for query, key and value, which are stored as [out, in] here. */
export const gpt2: GgufFamily = {
  architecture: "gpt2",
  modelType: "gpt2",
  toJson: ({ fields, shapeOf }) => ({
    ...Object.fromEntries(sizes.map(([field, key]) => [key, fields.number(field)])),
    layer_norm_epsilon: shortest(fields.number(".attention.layer_norm_epsilon")),
    vocab_size: shapeOf("token_embd.weight")?.[0] ?? 0,
    tie_word_embeddings: shapeOf("output.weight") === undefined,
  }),
  toFields(json) {
    const u32 = (value: number): GgufValue => ({ type: "u32", value });
    const fields = sizes.map(([field, key]) => [
      field,
      u32(numberAt(json, key) ?? 4 * numberAt(json, "n_embd", 0)),
    ]);
    return {
      ...Object.fromEntries(fields),
      ".attention.layer_norm_epsilon": { type: "f32", value: numberAt(json, "layer_norm_epsilon", 1e-5) },
      ".vocab_size": u32(numberAt(json, "vocab_size", 0)),
    };
  },
  rules: [
    { paths: ["positionEmbedding"], name: "position_embd.weight", isTable: true },
    ...decoderRules({ hasPairedRows: false }).filter(({ name }) => !/attn_[qkv]\./.test(name)),
    ...both(["attention.query", "attention.key", "attention.value"], "attn_qkv"),
  ],
};
