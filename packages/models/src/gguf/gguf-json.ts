import type { GgufValue } from "@heddle/checkpoints";
import { HeddleError } from "@heddle/tensor";
import type { GgufDescription } from "./gguf-family.js";

/** Fields that most architectures share, and the keys of config.json that mean the same. */
const shared = [
  [".block_count", "num_hidden_layers", "u32"],
  [".context_length", "max_position_embeddings", "u32"],
  [".embedding_length", "hidden_size", "u32"],
  [".feed_forward_length", "intermediate_size", "u32"],
  [".attention.head_count", "num_attention_heads", "u32"],
  [".attention.head_count_kv", "num_key_value_heads", "u32"],
  [".attention.layer_norm_rms_epsilon", "rms_norm_eps", "f32"],
] as const;

/** The part of config.json that most architectures share. */
export function sharedJson(model: GgufDescription): Record<string, unknown> {
  const { fields, shapeOf } = model;
  const entries = shared.flatMap(([field, key]) => {
    if (field === ".attention.head_count_kv" && !fields.has(field)) return [];
    return [[key, shortest(fields.number(field))] as const];
  });
  const keyLength = fields.optionalNumber(".attention.key_length");
  return {
    ...Object.fromEntries(entries),
    ...(keyLength === undefined ? {} : { head_dim: keyLength }),
    vocab_size: shapeOf("token_embd.weight")?.[0] ?? 0,
    tie_word_embeddings: shapeOf("output.weight") === undefined,
    ...ropeJson(model),
  };
}

/** The fields that most architectures share. */
export function sharedFields(json: Readonly<Record<string, unknown>>): Record<string, GgufValue> {
  const entries = shared.flatMap(([field, key, type]): [string, GgufValue][] => {
    const value = json[key];
    return typeof value === "number" ? [[field, { type, value }]] : [];
  });
  const headDim =
    numberAt(json, "head_dim") ?? numberAt(json, "hidden_size", 0) / numberAt(json, "num_attention_heads", 1);
  return {
    ...Object.fromEntries(entries),
    ".attention.key_length": { type: "u32", value: headDim },
    ".attention.value_length": { type: "u32", value: headDim },
    ".vocab_size": { type: "u32", value: numberAt(json, "vocab_size", 0) },
    ".rope.dimension_count": { type: "u32", value: headDim },
    ...ropeFields(json),
  };
}

function ropeJson({ fields, factors }: GgufDescription): Record<string, unknown> {
  const theta = shortest(fields.optionalNumber(".rope.freq_base") ?? 10_000);
  const context = fields.number(".context_length");
  const original = fields.optionalNumber(".rope.scaling.original_context_length");
  const factor = shortest(
    fields.optionalNumber(".rope.scaling.factor") ?? fields.optionalNumber(".rope.scale_linear") ?? 1,
  );
  const type = fields.optionalText(".rope.scaling.type");
  const {
    "rope_freqs.weight": all,
    "rope_factors_short.weight": short,
    "rope_factors_long.weight": long,
  } = factors;
  const attentionFactor = shortest(fields.optionalNumber(".rope.scaling.attn_factor") ?? 1);
  if (all !== undefined || (short !== undefined && long !== undefined)) {
    // Llama 3's factors are written out one by one: the same as long rope with one list for every length.
    const scaling = {
      rope_type: "longrope",
      short_factor: short ?? all,
      long_factor: long ?? all,
      original_max_position_embeddings: original ?? context,
      attention_factor: attentionFactor,
    };
    return { rope_theta: theta, rope_scaling: scaling };
  }
  if (type === "yarn") {
    const scaling = { rope_type: "yarn", factor, original_max_position_embeddings: original ?? context };
    return { rope_theta: theta, rope_scaling: scaling };
  }
  if (factor !== 1) return { rope_theta: theta, rope_scaling: { rope_type: "linear", factor } };
  return { rope_theta: theta };
}

function ropeFields(json: Readonly<Record<string, unknown>>): Record<string, GgufValue> {
  const rope = scalingOf(json);
  const theta = numberAt(rope, "rope_theta") ?? numberAt(json, "rope_theta") ?? 10_000;
  const fields: Record<string, GgufValue> = { ".rope.freq_base": { type: "f32", value: theta } };
  const type = rope.rope_type ?? rope.type ?? "default";
  if (type !== "default" && type !== "linear" && type !== "yarn") {
    throw new HeddleError(
      "unsupported",
      `saveGguf: rotary scaling must be default, linear or yarn, because others need tensors of factors, which are not written yet; got ${type}. Save it with saveModel instead.`,
      { rope_type: type },
    );
  }
  if (type === "linear" || type === "yarn") {
    fields[".rope.scaling.type"] = { type: "string", value: type };
    fields[".rope.scaling.factor"] = { type: "f32", value: numberAt(rope, "factor", 1) };
  }
  const original = numberAt(rope, "original_max_position_embeddings");
  if (type === "yarn" && original !== undefined) {
    fields[".rope.scaling.original_context_length"] = { type: "u32", value: original };
  }
  return fields;
}

/** The rotary scaling of a config.json in either form. */
export function scalingOf(json: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const found = json.rope_parameters ?? json.rope_scaling;
  return typeof found === "object" && found !== null ? (found as Record<string, unknown>) : {};
}

/** A number of a config.json. */
export function numberAt(json: Readonly<Record<string, unknown>>, key: string): number | undefined;
export function numberAt(json: Readonly<Record<string, unknown>>, key: string, otherwise: number): number;
export function numberAt(json: Readonly<Record<string, unknown>>, key: string, otherwise?: number) {
  const value = json[key];
  return typeof value === "number" ? value : otherwise;
}

/** The shortest decimal number that is this f32: 1e-5 and not 0.000009999999747378752. */
export function shortest(value: number): number {
  for (let digits = 1; digits < 9; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === Math.fround(value)) return short;
  }
  return value;
}
