import { z } from "zod";
import { decoder } from "../decoder/decoder-architecture.js";
import {
  deepseekConfig,
  deepseekInertKeys,
  deepseekKeys,
  deepseekToJson,
  deepseekWeights,
} from "./deepseek.js";
import type { Family } from "./family.js";

const schema = z.object({
  ...deepseekKeys,
  norm_topk_prob: z.boolean().default(true),
  topk_method: z.literal("noaux_tc").default("noaux_tc"),
  scoring_func: z.literal("sigmoid").default("sigmoid"),
});

/**
 * DeepSeek-V3 and R1: V2 with experts by sigmoid and a learned bias on the choice, from groups of the best two sums.
 *
 * @see DeepSeek-AI 2024, arXiv:2412.19437
 */
export const deepseekV3: Family<z.infer<typeof schema>> = {
  modelType: "deepseek_v3",
  className: "DeepseekV3ForCausalLM",
  architecture: decoder,
  schema,
  inertKeys: deepseekInertKeys,
  toConfig: (json) => ({
    family: "deepseek_v3",
    ...deepseekConfig(json, {
      scores: "sigmoid",
      isNormalized: json.norm_topk_prob,
      hasChoiceBias: true,
      groups: { count: 1, topK: 1, score: "best-two" },
    }),
  }),
  toJson: deepseekToJson,
  weights: deepseekWeights,
};
