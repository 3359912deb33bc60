import { z } from "zod";
import type { DisentangledConfig, EncoderConfig } from "../encoder/config.js";
import { disentangledScale } from "../encoder/disentangled.js";
import { encoder } from "../encoder/encoder-architecture.js";
import type { EncoderWeights } from "../encoder/weights.js";
import { activationNames } from "./activation-names.js";
import { bertConfig, bertKeys, bertToJson, inertBertKeys, predictionsFromJson } from "./encoder-json.js";
import {
  bertBlockRules,
  ignoredByEncoders,
  inputRules,
  type PredictionNames,
  predictionRules,
} from "./encoder-names.js";
import type { Family } from "./family.js";
import { linears, one } from "./names.js";

const terms = { c2p: "content-to-position", p2c: "position-to-content" } as const;
const term = z.enum(["c2p", "p2c"]);

/** Keys that both versions of DeBERTa add to BERT's. */
export const debertaKeys = {
  ...bertKeys,
  type_vocab_size: z.number().int().min(0).default(0),
  layer_norm_eps: z.number().positive().default(1e-7),
  relative_attention: z.boolean().default(false),
  max_relative_positions: z.number().int().default(-1),
  /** Older files write "c2p|p2c". */
  pos_att_type: z
    .preprocess((value) => (typeof value === "string" ? value.split("|") : value), z.array(term))
    .nullish(),
  position_biased_input: z.boolean().default(true),
  pooler_hidden_act: z.enum(activationNames).default("gelu"),
  legacy: z.boolean().default(true),
};

type DebertaJson = z.infer<z.ZodObject<typeof debertaKeys>>;

export const inertDebertaKeys = [...inertBertKeys, "pooler_dropout", "pooler_hidden_size", "padding_idx"];

const schema = z.object(debertaKeys);

/** What both versions share; `disentangled` says how each scores distances. */
export function debertaConfig(
  family: string,
  json: DebertaJson,
  disentangled: Omit<DisentangledConfig, "terms">,
): EncoderConfig {
  const config = bertConfig(family, json);
  const scored = { ...disentangled, terms: (json.pos_att_type ?? []).map((name) => terms[name]) };
  const isScored = json.relative_attention && scored.terms.length > 0;
  return {
    ...config,
    attention: {
      ...config.attention,
      scale: isScored ? disentangledScale(scored, config.headDim) : config.attention.scale,
    },
    inputs: { numTypes: json.type_vocab_size, positions: json.position_biased_input ? "places" : "none" },
    ...(isScored ? { disentangled: scored } : {}),
    predictions: predictionsFromJson(json, {
      tokens: { activation: config.mlp.activation },
      transform: { activation: "gelu", hasBias: true, hasNorm: false },
    }),
  };
}

export function debertaToJson(config: EncoderConfig, prefix: string): Record<string, unknown> {
  const shortNames = Object.fromEntries(Object.entries(terms).map(([short, long]) => [long, short]));
  return {
    ...bertToJson(config, prefix),
    relative_attention: config.disentangled !== undefined,
    pos_att_type: config.disentangled?.terms.map((name) => shortNames[name]) ?? null,
    position_biased_input: config.inputs.positions === "places",
    legacy: true,
  };
}

export const debertaPredictions: PredictionNames = {
  tokens: {
    transform: "cls.predictions.transform.dense",
    norm: "cls.predictions.transform.LayerNorm",
    bias: "cls.predictions.bias",
    table: "cls.predictions.decoder.weight",
  },
  texts: { transform: "pooler.dense", classes: "classifier" },
  classes: "classifier",
};

export const ignoredByDeberta = [
  ...ignoredByEncoders,
  /^cls\.predictions\.decoder\./,
  /^lm_predictions\./,
  /^mask_predictions\./,
];

/**
 * DeBERTa: BERT whose scores tell contents from distances.
 *
 * @see He et al. 2020, DeBERTa, arXiv:2006.03654
 */
export const deberta: Family<z.infer<typeof schema>, EncoderConfig, EncoderWeights> = {
  modelType: "deberta",
  className: "DebertaForMaskedLM",
  architecture: encoder,
  schema,
  inertKeys: inertDebertaKeys,
  toConfig(json) {
    const span = json.max_relative_positions < 1 ? json.max_position_embeddings : json.max_relative_positions;
    const config = debertaConfig("deberta", json, {
      span,
      projections: "own",
      hasKeyBias: false,
      hasNorm: false,
    });
    return { ...config, attention: { ...config.attention, hasKeyBias: false } };
  },
  toJson: (config) => ({
    ...debertaToJson(config, "Deberta"),
    max_relative_positions: config.disentangled?.span ?? -1,
  }),
  weights: (config) => ({
    rules: [
      ...inputRules("deberta"),
      one("relativeEmbedding", "deberta.encoder.rel_embeddings.weight"),
      // Query, key and value of one head after another.
      {
        paths: ["query", "key", "value"].map((name) => `layers.*.attention.${name}.weight`),
        name: "deberta.encoder.layer.*.attention.self.in_proj.weight",
        groups: config.numHeads,
      },
      one("layers.*.attention.query.bias", "deberta.encoder.layer.*.attention.self.q_bias"),
      one("layers.*.attention.value.bias", "deberta.encoder.layer.*.attention.self.v_bias"),
      ...linears("layers.*", "deberta.encoder.layer.*.attention", {
        relativeKey: "self.pos_proj",
        relativeQuery: "self.pos_q_proj",
        "attention.output": "output.dense",
      }),
      ...bertBlockRules("deberta.encoder.layer.*"),
      ...predictionRules(config, debertaPredictions),
    ],
    optionalPrefix: "deberta.",
    ignored: ignoredByDeberta,
  }),
};
