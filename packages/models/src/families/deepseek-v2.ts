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
  topk_method: z.enum(["greedy", "group_limited_greedy"]).default("greedy"),
  scoring_func: z.literal("softmax").default("softmax"),
});

/**
 * DeepSeek-V2: latent attention, experts by softmax, from the best groups where the file asks for them.
 *
 * @see DeepSeek-AI 2024, arXiv:2405.04434
 */
export const deepseekV2: Family<z.infer<typeof schema>> = {
  modelType: "deepseek_v2",
  className: "DeepseekV2ForCausalLM",
  architecture: decoder,
  schema,
  inertKeys: deepseekInertKeys,
  toConfig: (json) => ({
    family: "deepseek_v2",
    ...deepseekConfig(json, {
      scores: "softmax",
      isNormalized: json.norm_topk_prob,
      ...(json.topk_method === "greedy" ? {} : { groups: { count: 1, topK: 1, score: "best" } }),
    }),
  }),
  toJson: (config) => ({
    ...deepseekToJson(config),
    topk_method: config.mlp.experts?.routing.groups ? "group_limited_greedy" : "greedy",
  }),
  weights: deepseekWeights,
};
