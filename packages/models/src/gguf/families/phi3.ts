import type { GgufFamily } from "../gguf-family.js";
import { sharedFields, sharedJson } from "../gguf-json.js";
import { numberAt } from "../json-numbers.js";
import { both, decoderRules } from "./decoder-rules.js";

/** Phi-3 and Phi-4: query, key and value in one matrix, gate and up in another. */
export const phi3: GgufFamily = {
  architecture: "phi3",
  modelType: "phi3",
  toJson(model) {
    const json = sharedJson(model);
    const headDim = numberAt(json, "hidden_size", 0) / numberAt(json, "num_attention_heads", 1);
    const rotaryDim = model.fields.optionalNumber(".rope.dimension_count") ?? headDim;
    const window = model.fields.optionalNumber(".attention.sliding_window") ?? 0;
    return {
      ...json,
      ...(rotaryDim === headDim ? {} : { partial_rotary_factor: rotaryDim / headDim }),
      ...(window > 0 ? { sliding_window: window } : {}),
    };
  },
  toFields(json) {
    const fields = sharedFields(json);
    const headDim = numberAt(json, "hidden_size", 0) / numberAt(json, "num_attention_heads", 1);
    const rotaryDim = Math.round(headDim * numberAt(json, "partial_rotary_factor", 1));
    return {
      ...fields,
      ".rope.dimension_count": { type: "u32", value: rotaryDim },
      ".attention.sliding_window": { type: "u32", value: numberAt(json, "sliding_window", 0) },
    };
  },
  rules: [
    ...decoderRules({ hasPairedRows: false }).filter(
      ({ name }) => !/attn_[qkv]\.|ffn_(gate|up)\./.test(name),
    ),
    ...both(["attention.query", "attention.key", "attention.value"], "attn_qkv"),
    ...both(["mlp.gate", "mlp.up"], "ffn_up"),
  ],
};
