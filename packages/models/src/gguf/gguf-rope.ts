import type { GgufValue } from "@heddle/checkpoints";
import { ropeFrequencies } from "@heddle/positional-encodings";
import { HeddleError } from "@heddle/tensor";
import type { DecoderConfig } from "../config.js";
import type { GgufDescription } from "./gguf-family.js";
import { numberAt, shortest } from "./json-numbers.js";

// GGUF holds rotary scaling in two ways: linear and yarn in fields, and everything else as tensors of what each frequency is
// divided by: one for all lengths (Llama 3), or one for short texts and one for long ones (LongRoPE).

const allFactors = "rope_freqs.weight";
const shortFactors = "rope_factors_short.weight";
const longFactors = "rope_factors_long.weight";

/** Tensors that belong to the configuration: what rotation frequencies are divided by. */
export const factorTensors: ReadonlySet<string> = new Set([allFactors, shortFactors, longFactors]);

/** The part of config.json that says how positions turn. */
export function ropeJson({ fields, factors }: GgufDescription): Record<string, unknown> {
  const theta = shortest(fields.optionalNumber(".rope.freq_base") ?? 10_000);
  const context = fields.number(".context_length");
  const original = fields.optionalNumber(".rope.scaling.original_context_length") ?? context;
  const factor = shortest(
    fields.optionalNumber(".rope.scaling.factor") ?? fields.optionalNumber(".rope.scale_linear") ?? 1,
  );
  const { [allFactors]: all, [shortFactors]: short, [longFactors]: long } = factors;
  if (all !== undefined || (short !== undefined && long !== undefined)) {
    // One list for every length is the same as two equal ones.
    const scaling = {
      rope_type: "longrope",
      short_factor: (short ?? all)?.map(shortest),
      long_factor: (long ?? all)?.map(shortest),
      original_max_position_embeddings: original,
      attention_factor: shortest(fields.optionalNumber(".rope.scaling.attn_factor") ?? 1),
    };
    return { rope_theta: theta, rope_scaling: scaling };
  }
  if (fields.optionalText(".rope.scaling.type") === "yarn") {
    const betas = [
      ["beta_fast", ".rope.scaling.yarn_beta_fast"],
      ["beta_slow", ".rope.scaling.yarn_beta_slow"],
    ].flatMap(([key = "", field = ""]) => {
      const value = fields.optionalNumber(field);
      return value === undefined ? [] : [[key, shortest(value)] as const];
    });
    const scaling = { rope_type: "yarn", factor, original_max_position_embeddings: original };
    return { rope_theta: theta, rope_scaling: { ...scaling, ...Object.fromEntries(betas) } };
  }
  if (factor !== 1) return { rope_theta: theta, rope_scaling: { rope_type: "linear", factor } };
  return { rope_theta: theta };
}

/** The fields that say how positions turn. @throws HeddleError "unsupported" for a scaling that a file would lose */
export function ropeFields(json: Readonly<Record<string, unknown>>): Record<string, GgufValue> {
  const rope = scalingOf(json);
  const f32 = (value: number): GgufValue => ({ type: "f32", value });
  const base = {
    ".rope.freq_base": f32(numberAt(rope, "rope_theta") ?? numberAt(json, "rope_theta") ?? 10_000),
  };
  const type = rope.rope_type ?? rope.type ?? "default";
  const original = numberAt(rope, "original_max_position_embeddings");
  const named = { ...base, ".rope.scaling.type": { type: "string", value: String(type) } as const };
  const stretched = { ...named, ".rope.scaling.factor": f32(numberAt(rope, "factor", 1)) };
  const originalField: Record<string, GgufValue> =
    original === undefined
      ? {}
      : { ".rope.scaling.original_context_length": { type: "u32", value: original } };
  switch (type) {
    case "default":
    case "llama3": // all is in the tensor of factors
      return base;
    case "linear":
      return stretched;
    case "yarn":
      return { ...stretched, ...originalField, ...yarnFields(rope) };
    case "longrope":
      return { ...named, ...originalField, ".rope.scaling.attn_factor": f32(longRopeAttention(json, rope)) };
    default: {
      const message = `saveGguf: rotary scaling must be default, linear, yarn, llama3 or longrope, which GGUF has fields or tensors for; got ${type}. Save it with saveModel instead.`;
      throw new HeddleError("unsupported", message, { rope_type: type });
    }
  }
}

function yarnFields(rope: Readonly<Record<string, unknown>>): Record<string, GgufValue> {
  const lost = ["attention_factor", "mscale", "mscale_all_dim", "truncate"].find(
    (key) => rope[key] !== undefined && rope[key] !== null && rope[key] !== true,
  );
  if (lost !== undefined) {
    const message = `saveGguf: yarn in GGUF has no field for ${lost}; got ${lost} ${rope[lost]}. Save it with saveModel instead.`;
    throw new HeddleError("unsupported", message, { rope_type: "yarn", lost });
  }
  const betas = [
    [".rope.scaling.yarn_beta_fast", numberAt(rope, "beta_fast")],
    [".rope.scaling.yarn_beta_slow", numberAt(rope, "beta_slow")],
  ] as const;
  return Object.fromEntries(
    betas.flatMap(([field, value]) =>
      value === undefined ? [] : [[field, { type: "f32", value } as const]],
    ),
  );
}

function longRopeAttention(
  json: Readonly<Record<string, unknown>>,
  rope: Readonly<Record<string, unknown>>,
): number {
  const context = numberAt(json, "max_position_embeddings", 1);
  const original = numberAt(rope, "original_max_position_embeddings", context);
  const factor = numberAt(rope, "factor", context / original);
  const usual = factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(original));
  return numberAt(rope, "attention_factor", usual);
}

/** The tensors of factors that a configuration needs, by name: [rotaryDim / 2] each. */
export function ropeFactors({ positions, headDim }: DecoderConfig): ReadonlyMap<string, readonly number[]> {
  if (positions.kind !== "rope") return new Map();
  const { theta, scaling, rotaryDim = headDim } = positions;
  if (scaling.kind === "longrope") {
    return new Map([
      [longFactors, scaling.longFactors],
      [shortFactors, scaling.shortFactors],
    ]);
  }
  if (scaling.kind !== "llama3") return new Map();
  const plain = ropeFrequencies({ rotaryDim, theta }).inverseFrequencies;
  const scaled = ropeFrequencies({ rotaryDim, theta, scaling }).inverseFrequencies;
  return new Map([[allFactors, Array.from(plain, (frequency, i) => frequency / (scaled[i] ?? frequency))]]);
}

/** The rotary scaling of a config.json in either form. */
export function scalingOf(json: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const found = json.rope_parameters ?? json.rope_scaling;
  return typeof found === "object" && found !== null ? (found as Record<string, unknown>) : {};
}
