import { HeddleError } from "@heddle/tensor";
import { z } from "zod";
import { decoder } from "../decoder/decoder-architecture.js";
import type { Family } from "./family.js";
import { gptFromJson, gptKeys, gptNames, gptToJson, summaryKeys } from "./gpt-json.js";
import { linears, norms, one } from "./names.js";
import { count } from "./size-json.js";

const schema = z.object({
  ...gptKeys,
  n_positions: count.default(2048),
  rotary_dim: count.nullish().default(64),
  tie_word_embeddings: z.boolean().default(false),
});

/**
 * GPT-J: attention and feed-forward side by side after one norm, neighbouring features of a part of each head turn.
 *
 * @see Wang and Komatsuzaki 2021, GPT-J-6B
 */
export const gptj: Family<z.infer<typeof schema>> = {
  modelType: "gptj",
  className: "GPTJForCausalLM",
  architecture: decoder,
  schema,
  inertKeys: [
    "attn_pdrop",
    "embd_pdrop",
    "resid_pdrop",
    "rotary",
    "n_ctx",
    "scale_attn_weights",
    "gradient_checkpointing",
    ...summaryKeys,
  ],
  toConfig(json) {
    const sizes = gptFromJson(json);
    checkTurning(json.rotary_dim ?? sizes.headDim, sizes.headDim);
    return {
      family: "gptj",
      ...sizes,
      positions: {
        kind: "rope",
        theta: 10_000,
        scaling: { kind: "default" },
        rotaryDim: json.rotary_dim ?? sizes.headDim,
        layout: "interleaved",
      },
      residual: { order: "parallel", norms: "pre", sharesNorm: true },
      attention: { hasBias: false, scale: sizes.headDim ** -0.5 },
      head: { hasBias: true },
    };
  },
  toJson: (config) => ({
    ...gptToJson(config),
    rotary_dim: config.positions.kind === "rope" ? config.positions.rotaryDim : undefined,
  }),
  weights: () => ({
    rules: [
      gptNames.embedding,
      ...norms("layers.*", "transformer.h.*", { attentionNorm: "ln_1" }),
      ...linears("layers.*.attention", "transformer.h.*.attn", {
        query: "q_proj",
        key: "k_proj",
        value: "v_proj",
        output: "out_proj",
      }),
      ...linears("layers.*.mlp", "transformer.h.*.mlp", { up: "fc_in", down: "fc_out" }),
      ...gptNames.last,
      one("unembeddingBias", "lm_head.bias"),
    ],
    ignored: [/^transformer\.h\.\d+\.attn\.(?:masked_)?bias$/],
  }),
};

function checkTurning(rotaryDim: number, headDim: number): void {
  if (rotaryDim % 2 === 0 && rotaryDim <= headDim) return;
  const message = `parseConfig: rotary_dim must be even and at most the width of a head; got rotary_dim ${rotaryDim}, n_embd / n_head ${headDim}. Check the config.json.`;
  throw new HeddleError("config", message, { rotaryDim, headDim });
}
