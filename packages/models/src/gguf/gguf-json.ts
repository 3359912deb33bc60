import type { GgufValue } from "@heddle/checkpoints";
import type { GgufDescription } from "./gguf-family.js";
import { ropeFields, ropeJson } from "./gguf-rope.js";
import { numberAt, shortest } from "./json-numbers.js";

/** Fields that most architectures share, and the keys of config.json that mean the same. */
const shared = [
  [".block_count", "num_hidden_layers", "u32"],
  [".context_length", "max_position_embeddings", "u32"],
  [".embedding_length", "hidden_size", "u32"],
  [".feed_forward_length", "intermediate_size", "u32"],
  [".attention.head_count", "num_attention_heads", "u32"],
  [".attention.head_count_kv", "num_key_value_heads", "u32"],
  [".attention.layer_norm_rms_epsilon", "rms_norm_eps", "f32"],
] as const;

/** The part of config.json that most architectures share. */
export function sharedJson(model: GgufDescription): Record<string, unknown> {
  const { fields, shapeOf } = model;
  const entries = shared.flatMap(([field, key]) => {
    if (field === ".attention.head_count_kv" && !fields.has(field)) return [];
    return [[key, shortest(fields.number(field))] as const];
  });
  const keyLength = fields.optionalNumber(".attention.key_length");
  return {
    ...Object.fromEntries(entries),
    ...(keyLength === undefined ? {} : { head_dim: keyLength }),
    vocab_size: shapeOf("token_embd.weight")?.[0] ?? 0,
    tie_word_embeddings: shapeOf("output.weight") === undefined,
    ...ropeJson(model),
  };
}

/** The fields that most architectures share. */
export function sharedFields(json: Readonly<Record<string, unknown>>): Record<string, GgufValue> {
  const entries = shared.flatMap(([field, key, type]): [string, GgufValue][] => {
    const value = json[key];
    return typeof value === "number" ? [[field, { type, value }]] : [];
  });
  const headDim =
    numberAt(json, "head_dim") ?? numberAt(json, "hidden_size", 0) / numberAt(json, "num_attention_heads", 1);
  return {
    ...Object.fromEntries(entries),
    ".attention.key_length": { type: "u32", value: headDim },
    ".attention.value_length": { type: "u32", value: headDim },
    ".vocab_size": { type: "u32", value: numberAt(json, "vocab_size", 0) },
    ".rope.dimension_count": { type: "u32", value: headDim },
    ...ropeFields(json),
  };
}
