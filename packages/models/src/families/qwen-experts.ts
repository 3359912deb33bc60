import { z } from "zod";
import type { DecoderConfig, ExpertsConfig, LayerConfig, MlpConfig } from "../config.js";
import { count, partCount } from "./size-json.js";

/** Keys of experts that Qwen's two families share: which layers have them, how many, how wide. */
export const qwenExpertKeys = {
  num_experts: partCount.nullish(),
  num_local_experts: partCount.nullish(),
  num_experts_per_tok: partCount,
  moe_intermediate_size: count,
  norm_topk_prob: z.boolean().default(false),
  decoder_sparse_step: count.default(1),
  mlp_only_layers: z.array(z.number().int()).default([]),
};

/** A model's feed-forward with experts, and the layers that have a plain one. */
export function qwenExperts(
  json: z.infer<z.ZodObject<typeof qwenExpertKeys>> & { readonly num_hidden_layers: number },
  { dense, shared }: { readonly dense: MlpConfig; readonly shared?: ExpertsConfig["shared"] },
): Pick<DecoderConfig, "mlp" | "layerOverrides"> {
  const mlp: MlpConfig = {
    ...dense,
    kind: "experts",
    ffnDim: json.moe_intermediate_size,
    experts: {
      numExperts: json.num_experts ?? json.num_local_experts ?? 0,
      topK: json.num_experts_per_tok,
      routing: { scores: "softmax", isNormalized: json.norm_topk_prob },
      ...(shared === undefined ? {} : { shared }),
    },
  };
  const layerOverrides = Array.from({ length: json.num_hidden_layers }, (_, layer): Partial<LayerConfig> => {
    const isSparse = !json.mlp_only_layers.includes(layer) && (layer + 1) % json.decoder_sparse_step === 0;
    return isSparse ? {} : { mlp: dense };
  });
  return layerOverrides.some(({ mlp: plain }) => plain) ? { mlp, layerOverrides } : { mlp };
}

export function qwenExpertsToJson({
  mlp,
  numLayers,
  layerOverrides,
}: DecoderConfig): Record<string, unknown> {
  return {
    num_experts: mlp.experts?.numExperts,
    num_experts_per_tok: mlp.experts?.topK,
    moe_intermediate_size: mlp.ffnDim,
    norm_topk_prob: mlp.experts?.routing.isNormalized,
    decoder_sparse_step: 1,
    mlp_only_layers: Array.from({ length: numLayers }, (_, layer) => layer).filter(
      (layer) => layerOverrides?.[layer]?.mlp !== undefined,
    ),
  };
}

/** Joins what two rules say of each layer. */
export function joinOverrides(
  numLayers: number,
  ...overrides: readonly (readonly Partial<LayerConfig>[] | undefined)[]
): Pick<DecoderConfig, "layerOverrides"> {
  const given = overrides.filter((layers) => layers !== undefined);
  if (given.length === 0) return {};
  const at = (layer: number) => Object.assign({}, ...given.map((layers) => layers[layer] ?? {}));
  return { layerOverrides: Array.from({ length: numLayers }, (_, layer) => at(layer)) };
}
