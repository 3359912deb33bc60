import { z } from "zod";
import { decoder } from "../decoder/decoder-architecture.js";
import { activationNames, activationOf, nameOfActivation } from "./activation-names.js";
import type { Family } from "./family.js";
import { linears, llamaNames, one } from "./names.js";
import { ropeFromJson, ropeKeys, ropeToJson } from "./rope-json.js";
import { count, positive, sizeKeys, sizesFromJson, sizesToJson } from "./size-json.js";

const schema = z.object({
  ...sizeKeys,
  ...ropeKeys,
  /** The 7B models have positions that turn and say how many; the 13B models have falling scores and say this instead. */
  max_position_embeddings: count.nullish(),
  model_max_length: count.nullish(),
  hidden_act: z.enum(activationNames).default("silu"),
  rms_norm_eps: positive.default(1e-6),
  z_loss_weight: z.number().nullish(),
});

/** Vocabulary of the second generation, whose output projection has rows of length 1. */
const normHeadVocab = 125_696;

/**
 * Baichuan 1 and 2: Llama with query, key and value in one matrix; the 13B models have ALiBi instead of rotary positions, the
 * second generation an output projection of unit rows ("NormHead").
 *
 * @see Yang et al. 2023, Baichuan 2, arXiv:2309.10305, section 2
 * Differs from the published code: the rows are normalised when they are loaded, not at the first call.
 */
export const baichuan: Family<z.infer<typeof schema>> = {
  modelType: "baichuan",
  className: "BaichuanForCausalLM",
  architecture: decoder,
  schema,
  inertKeys: ["_from_model_config", "gradient_checkpointing", "attention_dropout"],
  toConfig(json) {
    const maxSeqLen = json.max_position_embeddings ?? json.model_max_length ?? 4096;
    const sizes = sizesFromJson({ ...json, max_position_embeddings: maxSeqLen });
    return {
      family: "baichuan",
      ...sizes,
      norm: { kind: "rms", eps: json.rms_norm_eps },
      positions: json.max_position_embeddings ? ropeFromJson(json, sizes) : { kind: "alibi" },
      mlp: { kind: "gated", activation: activationOf(json.hidden_act), hasBias: false },
      attention: { hasBias: false, scale: sizes.headDim ** -0.5 },
    };
  },
  toJson(config) {
    const { max_position_embeddings, head_dim, num_key_value_heads, ...sizes } = sizesToJson(config);
    const length = config.positions.kind === "rope" ? { max_position_embeddings } : {};
    return {
      ...sizes,
      ...length,
      model_max_length: config.maxSeqLen,
      ...ropeToJson(config.positions),
      hidden_act: nameOfActivation(config.mlp.activation),
      rms_norm_eps: config.norm.eps,
    };
  },
  weights: ({ vocabSize }) => ({
    rules: [
      llamaNames.embedding,
      ...llamaNames.attentionNorm,
      ...linears("layers.*.attention", "model.layers.*.self_attn", {
        "query key value": "W_pack",
        output: "o_proj",
      }),
      ...llamaNames.mlpNorm,
      ...llamaNames.mlp,
      one("norm.weight", "model.norm.weight"),
      { ...one("unembedding", "lm_head.weight"), hasUnitRows: vocabSize === normHeadVocab },
    ],
    ignored: llamaNames.ignored,
  }),
};
