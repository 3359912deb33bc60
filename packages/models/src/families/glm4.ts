import { z } from "zod";
import { decoder } from "../decoder/decoder-architecture.js";
import type { Family } from "./family.js";
import { glmConfig, glmKeys, glmToJson } from "./glm.js";
import { llamaNames, norms } from "./names.js";

const schema = z.object(glmKeys);

/**
 * GLM-4-0414: GLM with norms on both sides of each block.
 *
 * @see Team GLM 2024, arXiv:2406.12793; the release of April 2025
 */
export const glm4: Family<z.infer<typeof schema>> = {
  modelType: "glm4",
  className: "Glm4ForCausalLM",
  architecture: decoder,
  schema,
  inertKeys: ["attention_dropout"],
  toConfig: (json) => ({
    family: "glm4",
    ...glmConfig(json),
    residual: { order: "sequential", norms: "both" },
  }),
  toJson: (config) => glmToJson(config),
  weights: () => ({
    rules: [
      llamaNames.embedding,
      ...llamaNames.attentionNorm,
      ...llamaNames.attention,
      ...llamaNames.mlpNorm,
      ...norms("layers.*", "model.layers.*", {
        attentionPostNorm: "post_self_attn_layernorm",
        mlpPostNorm: "post_mlp_layernorm",
      }),
      ...llamaNames.fusedMlp,
      ...llamaNames.last,
    ],
    ignored: llamaNames.ignored,
  }),
};
