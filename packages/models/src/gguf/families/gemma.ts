import type { GgufFamily } from "../gguf-family.js";
import { sharedFields, sharedJson } from "../gguf-json.js";
import { decoderRules } from "./decoder-rules.js";

/** Gemma: norm weights are stored whole, where Hugging Face stores them less one. */
export const gemma: GgufFamily = {
  architecture: "gemma",
  modelType: "gemma",
  toJson: (model) => ({ ...sharedJson(model), hidden_activation: "gelu_pytorch_tanh" }),
  toFields: sharedFields,
  rules: decoderRules({ hasPairedRows: false }).map((rule) =>
    /norm\.weight$/.test(rule.name) ? { ...rule, offset: 1 } : rule,
  ),
};
