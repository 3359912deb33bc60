import type { WeightRule } from "./family.js";

/**
 * Rules for linear layers, weight and bias, each where the tree has it: our names under `path`, theirs under `prefix`.
 * Several of ours, separated by spaces, are stored joined.
 */
export function linears(
  path: string,
  prefix: string,
  names: Readonly<Record<string, string>>,
  options: Omit<WeightRule, "paths" | "name"> = {},
): WeightRule[] {
  const { isTransposed, hasUnitRows, ...bias } = options;
  return Object.entries(names).flatMap(([ours, theirs]) => {
    const paths = (part: string) => ours.split(" ").map((name) => `${path}.${name}.${part}`);
    return [
      { paths: paths("weight"), name: `${prefix}.${theirs}.weight`, ...options },
      { paths: paths("bias"), name: `${prefix}.${theirs}.bias`, ...bias },
    ];
  });
}

/** Rules for norms, as `linears`. */
export function norms(path: string, prefix: string, names: Readonly<Record<string, string>>): WeightRule[] {
  return linears(path, prefix, names);
}

/** One tensor. */
export function one(path: string, name: string): WeightRule {
  return { paths: [path], name };
}

/** Weights that have Llama's names: the embedding, norms before the blocks, four projections, the last norm, the unembedding. */
export const llamaNames = {
  embedding: one("embedding", "model.embed_tokens.weight"),
  attentionNorm: norms("layers.*", "model.layers.*", { attentionNorm: "input_layernorm" }),
  attention: linears("layers.*.attention", "model.layers.*.self_attn", {
    query: "q_proj",
    key: "k_proj",
    value: "v_proj",
    output: "o_proj",
  }),
  queryKeyNorms: norms("layers.*.attention", "model.layers.*.self_attn", {
    queryNorm: "q_norm",
    keyNorm: "k_norm",
  }),
  mlpNorm: norms("layers.*", "model.layers.*", { mlpNorm: "post_attention_layernorm" }),
  mlp: linears("layers.*.mlp", "model.layers.*.mlp", { gate: "gate_proj", up: "up_proj", down: "down_proj" }),
  /** One stored matrix for gate and up (GLM, Phi-3). */
  fusedMlp: linears("layers.*.mlp", "model.layers.*.mlp", { "gate up": "gate_up_proj", down: "down_proj" }),
  last: [
    one("norm.weight", "model.norm.weight"),
    one("norm.bias", "model.norm.bias"),
    one("unembedding", "lm_head.weight"),
  ],
  /** Stored by early releases of transformers; they follow from the configuration. */
  ignored: [/^model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq$/],
};

/** The rules of a decoder with Llama's names throughout. */
export const llamaRules: readonly WeightRule[] = [
  llamaNames.embedding,
  ...llamaNames.attentionNorm,
  ...llamaNames.attention,
  ...llamaNames.queryKeyNorms,
  ...llamaNames.mlpNorm,
  ...llamaNames.mlp,
  ...llamaNames.last,
];
