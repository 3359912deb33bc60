import type { GgufFamily } from "../gguf-family.js";
import { sharedFields, sharedJson } from "../gguf-json.js";
import { decoderRules } from "./decoder-rules.js";

/** Qwen3: norms of queries and keys, no biases. */
export const qwen3: GgufFamily = {
  architecture: "qwen3",
  modelType: "qwen3",
  toJson: sharedJson,
  toFields: sharedFields,
  rules: decoderRules({ hasPairedRows: false }),
};
