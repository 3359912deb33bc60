import type { GgufFamily } from "../gguf-family.js";
import { sharedFields, sharedJson } from "../gguf-json.js";
import { decoderRules } from "./decoder-rules.js";

/** Qwen2 and Qwen2.5: biases of queries, keys and values; rows as in Hugging Face's files. */
export const qwen2: GgufFamily = {
  architecture: "qwen2",
  modelType: "qwen2",
  toJson: sharedJson,
  toFields: sharedFields,
  rules: decoderRules({ hasPairedRows: false }),
};
