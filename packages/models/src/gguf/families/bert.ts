import type { GgufValue } from "@heddle/checkpoints";
import type { GgufFamily } from "../gguf-family.js";
import { numberAt, shortest } from "../json-numbers.js";
import { both } from "./decoder-rules.js";

const sizes = [
  [".context_length", "max_position_embeddings"],
  [".embedding_length", "hidden_size"],
  [".feed_forward_length", "intermediate_size"],
  [".block_count", "num_hidden_layers"],
  [".attention.head_count", "num_attention_heads"],
] as const;

/** BERT as a maker of text vectors (BGE, E5, MiniLM and others): no head, three tables of inputs, norms behind each block. */
export const bert: GgufFamily = {
  architecture: "bert",
  modelType: "bert",
  losses({ architectures, hidden_act }) {
    const [name] = Array.isArray(architectures) ? architectures : [];
    if (name !== "BertModel") return `the head of ${name}: write the model with predictions of kind "none"`;
    return hidden_act === "gelu" ? undefined : `the activation ${hidden_act}`;
  },
  toJson: ({ fields, shapeOf }) => ({
    ...Object.fromEntries(sizes.map(([field, key]) => [key, fields.number(field)])),
    layer_norm_eps: shortest(fields.number(".attention.layer_norm_epsilon")),
    vocab_size: shapeOf("token_embd.weight")?.[0] ?? 0,
    type_vocab_size: shapeOf("token_types.weight")?.[0] ?? 0,
    hidden_act: "gelu",
    architectures: ["BertModel"],
  }),
  toFields(json) {
    const u32 = (value: number): GgufValue => ({ type: "u32", value });
    return {
      ...Object.fromEntries(sizes.map(([field, key]) => [field, u32(numberAt(json, key, 0))])),
      ".attention.layer_norm_epsilon": { type: "f32", value: numberAt(json, "layer_norm_eps", 1e-12) },
      ".attention.causal": { type: "bool", value: false },
      "tokenizer.ggml.token_type_count": u32(numberAt(json, "type_vocab_size", 0)),
    };
  },
  rules: [
    { paths: ["embedding"], name: "token_embd.weight", isTable: true },
    { paths: ["positionEmbedding"], name: "position_embd.weight", isTable: true },
    { paths: ["typeEmbedding"], name: "token_types.weight", isTable: true },
    { paths: ["embeddingNorm.weight"], name: "token_embd_norm.weight" },
    { paths: ["embeddingNorm.bias"], name: "token_embd_norm.bias" },
    ...both("attention.query", "attn_q"),
    ...both("attention.key", "attn_k"),
    ...both("attention.value", "attn_v"),
    ...both("attention.output", "attn_output"),
    ...both("attentionNorm", "attn_output_norm"),
    ...both("mlp.up", "ffn_up"),
    ...both("mlp.down", "ffn_down"),
    ...both("mlpNorm", "layer_output_norm"),
  ],
};
