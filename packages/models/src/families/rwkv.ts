import { z } from "zod";
import type { RecurrentConfig } from "../recurrent/config.js";
import type { RecurrentWeights } from "../recurrent/recurrent.js";
import { recurrent } from "../recurrent/recurrent-architecture.js";
import type { Family } from "./family.js";
import { linears, norms, one } from "./names.js";
import { recurrentFromJson, recurrentKeys, recurrentToJson } from "./recurrent-json.js";
import { count, positive } from "./size-json.js";

const schema = z.object({
  ...recurrentKeys,
  attention_hidden_size: count.nullish(),
  intermediate_size: count.nullish(),
  initializer_range: positive.default(0.02),
});

/**
 * RWKV-4: averages of values that fade with age, in place of attention.
 *
 * @see Peng et al. 2023, RWKV, arXiv:2305.13048
 */
export const rwkv: Family<z.infer<typeof schema>, RecurrentConfig, RecurrentWeights> = {
  modelType: "rwkv",
  className: "RwkvForCausalLM",
  architecture: recurrent,
  schema,
  inertKeys: ["context_length", "rescale_every"],
  toConfig: (json) => ({
    ...recurrentFromJson(json),
    family: "rwkv",
    modelDim: json.hidden_size,
    numLayers: json.num_hidden_layers,
    norm: { kind: "layer", eps: json.layer_norm_epsilon },
    embedding: { hasNorm: true },
    mixer: {
      kind: "wkv",
      innerDim: json.attention_hidden_size ?? json.hidden_size,
      ffnDim: json.intermediate_size ?? 4 * json.hidden_size,
    },
  }),
  toJson: (config) => ({
    ...recurrentToJson(config),
    ...(config.mixer.kind === "wkv"
      ? { attention_hidden_size: config.mixer.innerDim, intermediate_size: config.mixer.ffnDim }
      : {}),
  }),
  weights: () => ({
    rules: [
      one("embedding", "rwkv.embeddings.weight"),
      ...["weight", "bias"].flatMap((part) => [
        one(`embeddingNorm.${part}`, `rwkv.blocks.0.pre_ln.${part}`),
        one(`norm.${part}`, `rwkv.ln_out.${part}`),
      ]),
      ...norms("layers.*.wkv", "rwkv.blocks.*", { attentionNorm: "ln1", mlpNorm: "ln2" }),
      ...linears("layers.*.wkv.attention", "rwkv.blocks.*.attention", {
        key: "key",
        value: "value",
        receptance: "receptance",
        output: "output",
      }),
      ...linears("layers.*.wkv.mlp", "rwkv.blocks.*.feed_forward", {
        key: "key",
        value: "value",
        receptance: "receptance",
      }),
      ...["key", "value", "receptance"].map((name) =>
        one(`layers.*.wkv.attention.${name}.mix`, `rwkv.blocks.*.attention.time_mix_${name}`),
      ),
      ...["key", "receptance"].map((name) =>
        one(`layers.*.wkv.mlp.${name}.mix`, `rwkv.blocks.*.feed_forward.time_mix_${name}`),
      ),
      one("layers.*.wkv.attention.logDecay", "rwkv.blocks.*.attention.time_decay"),
      one("layers.*.wkv.attention.bonus", "rwkv.blocks.*.attention.time_first"),
      one("unembedding", "head.weight"),
    ],
  }),
};
