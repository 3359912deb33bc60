import { HeddleError } from "@heddle/tensor";
import { z } from "zod";
import type { DecoderConfig } from "../config.js";
import { activationNames, activationOf, nameOfActivation } from "./activation-names.js";
import type { Family } from "./family.js";
import { ropeFromJson, ropeJson, ropeToJson } from "./rope-json.js";
import { tokenKeys, tokensFromJson, tokensToJson } from "./token-json.js";

const count = z.number().int().positive();

const schema = z.object({
  vocab_size: count,
  hidden_size: count,
  intermediate_size: count,
  num_hidden_layers: count,
  num_attention_heads: count,
  num_key_value_heads: count.nullish(),
  head_dim: count.nullish(),
  hidden_act: z.enum(activationNames).default("silu"),
  max_position_embeddings: count.default(2048),
  initializer_range: z.number().positive().default(0.02),
  rms_norm_eps: z.number().positive().default(1e-6),
  tie_word_embeddings: z.boolean().default(false),
  attention_bias: z.boolean().default(false),
  mlp_bias: z.boolean().default(false),
  rope_theta: z.number().positive().nullish(),
  rope_scaling: ropeJson,
  rope_parameters: ropeJson,
  ...tokenKeys,
});

/**
 * Llama 1 to 3 and the models of its form: rotary positions, RMS norms, gated feed-forward, grouped queries.
 *
 * @see Touvron et al. 2023, arXiv:2302.13971 and arXiv:2307.09288; Grattafiori et al. 2024, arXiv:2407.21783
 */
export const llama: Family<z.infer<typeof schema>> = {
  modelType: "llama",
  architecture: "LlamaForCausalLM",
  schema,
  inertKeys: ["attention_dropout", "pretraining_tp", "is_llama_config"],
  toConfig(json): DecoderConfig {
    const headDim = json.head_dim ?? json.hidden_size / json.num_attention_heads;
    const numKvHeads = json.num_key_value_heads ?? json.num_attention_heads;
    checkHeads(json, { headDim, numKvHeads });
    return {
      family: "llama",
      vocabSize: json.vocab_size,
      modelDim: json.hidden_size,
      ffnDim: json.intermediate_size,
      numLayers: json.num_hidden_layers,
      numHeads: json.num_attention_heads,
      numKvHeads,
      headDim,
      maxSeqLen: json.max_position_embeddings,
      norm: { kind: "rms", eps: json.rms_norm_eps },
      positions: { kind: "rope", ...ropeFromJson(json) },
      mlp: { kind: "gated", activation: activationOf(json.hidden_act), hasBias: json.mlp_bias },
      attention: { hasBias: json.attention_bias, scale: headDim ** -0.5 },
      tieEmbeddings: json.tie_word_embeddings,
      initializerRange: json.initializer_range,
      tokens: tokensFromJson(json),
    };
  },
  toJson: (config) => ({
    attention_bias: config.attention.hasBias,
    head_dim: config.headDim,
    hidden_act: nameOfActivation(config.mlp.activation),
    hidden_size: config.modelDim,
    initializer_range: config.initializerRange,
    intermediate_size: config.ffnDim,
    max_position_embeddings: config.maxSeqLen,
    mlp_bias: config.mlp.hasBias,
    num_attention_heads: config.numHeads,
    num_hidden_layers: config.numLayers,
    num_key_value_heads: config.numKvHeads,
    rms_norm_eps: config.norm.eps,
    ...(config.positions.kind === "rope" ? ropeToJson(config.positions) : {}),
    tie_word_embeddings: config.tieEmbeddings,
    vocab_size: config.vocabSize,
    ...tokensToJson(config.tokens),
  }),
  weights: {
    rules: [
      { paths: ["embedding"], name: "model.embed_tokens.weight" },
      { paths: ["layers.*.attentionNorm.weight"], name: "model.layers.*.input_layernorm.weight" },
      ...linear("attention.query", "self_attn.q_proj"),
      ...linear("attention.key", "self_attn.k_proj"),
      ...linear("attention.value", "self_attn.v_proj"),
      ...linear("attention.output", "self_attn.o_proj"),
      { paths: ["layers.*.mlpNorm.weight"], name: "model.layers.*.post_attention_layernorm.weight" },
      ...linear("mlp.gate", "mlp.gate_proj"),
      ...linear("mlp.up", "mlp.up_proj"),
      ...linear("mlp.down", "mlp.down_proj"),
      { paths: ["norm.weight"], name: "model.norm.weight" },
      { paths: ["unembedding"], name: "lm_head.weight" },
    ],
    ignored: [/^model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq$/],
  },
};

function linear(path: string, name: string) {
  return ["weight", "bias"].map((part) => ({
    paths: [`layers.*.${path}.${part}`],
    name: `model.layers.*.${name}.${part}`,
  }));
}

function checkHeads(
  json: z.infer<typeof schema>,
  { headDim, numKvHeads }: { readonly headDim: number; readonly numKvHeads: number },
): void {
  if (!Number.isInteger(headDim)) {
    const got = `hidden_size ${json.hidden_size}, num_attention_heads ${json.num_attention_heads}`;
    const message = `parseConfig: hidden_size must be a multiple of num_attention_heads; got ${got}. Set head_dim.`;
    throw new HeddleError("config", message, { hidden_size: json.hidden_size });
  }
  if (json.num_attention_heads % numKvHeads !== 0) {
    const got = `num_attention_heads ${json.num_attention_heads}, num_key_value_heads ${numKvHeads}`;
    const message = `parseConfig: query heads must be a multiple of key heads; got ${got}. Check the config.json.`;
    throw new HeddleError("config", message, { num_key_value_heads: numKvHeads });
  }
}
