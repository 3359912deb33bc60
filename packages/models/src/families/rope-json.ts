import type { RopeScaling } from "@heddle/positional-encodings";
import { z } from "zod";

const positive = z.number().positive();
const theta = positive.optional();
const original = positive.int().optional();

/** Rotary scaling as config.json spells it; `type` is the older name of `rope_type`. */
const scalingJson = z.discriminatedUnion("rope_type", [
  z.strictObject({ rope_type: z.literal("default"), rope_theta: theta }),
  z.strictObject({ rope_type: z.literal("linear"), rope_theta: theta, factor: positive }),
  z.strictObject({
    rope_type: z.literal("llama3"),
    rope_theta: theta,
    factor: positive,
    low_freq_factor: positive,
    high_freq_factor: positive,
    original_max_position_embeddings: positive.int(),
  }),
  z.strictObject({
    rope_type: z.literal("yarn"),
    rope_theta: theta,
    factor: positive,
    original_max_position_embeddings: original,
    beta_fast: positive.optional(),
    beta_slow: positive.optional(),
    truncate: z.boolean().optional(),
    attention_factor: positive.nullish(),
    mscale: positive.optional(),
    mscale_all_dim: positive.optional(),
  }),
  z.strictObject({
    rope_type: z.literal("dynamic"),
    rope_theta: theta,
    factor: positive,
    original_max_position_embeddings: original,
  }),
  z.strictObject({
    rope_type: z.literal("longrope"),
    rope_theta: theta,
    factor: positive.optional(),
    short_factor: z.array(positive),
    long_factor: z.array(positive),
    original_max_position_embeddings: original,
    attention_factor: positive.nullish(),
  }),
]);

/** `rope_parameters` (current) or `rope_scaling` (older) of a config.json. */
export const ropeJson = z.preprocess(renameType, scalingJson).nullish();

type RopeJson = z.infer<typeof scalingJson>;

/** Reads both forms: all in `rope_parameters`, or the base beside `rope_scaling`. */
export function ropeFromJson(json: {
  readonly rope_parameters?: RopeJson | null;
  readonly rope_scaling?: RopeJson | null;
  readonly rope_theta?: number | null;
  readonly max_position_embeddings: number;
}): { readonly theta: number; readonly scaling: RopeScaling } {
  const rope = json.rope_parameters ?? json.rope_scaling ?? { rope_type: "default" };
  const theta = rope.rope_theta ?? json.rope_theta ?? 10_000;
  return { theta, scaling: scalingFromJson(rope, json.max_position_embeddings) };
}

function scalingFromJson(rope: RopeJson, maxSeqLen: number): RopeScaling {
  switch (rope.rope_type) {
    case "default":
      return { kind: "default" };
    case "linear":
      return { kind: "linear", factor: rope.factor };
    case "llama3":
      return {
        kind: "llama3",
        factor: rope.factor,
        lowFreqFactor: rope.low_freq_factor,
        highFreqFactor: rope.high_freq_factor,
        originalMaxSeqLen: rope.original_max_position_embeddings,
      };
    case "yarn":
      return withoutUndefined({
        kind: "yarn" as const,
        factor: rope.factor,
        originalMaxSeqLen: rope.original_max_position_embeddings ?? maxSeqLen,
        betaFast: rope.beta_fast,
        betaSlow: rope.beta_slow,
        truncate: rope.truncate,
        attentionFactor: rope.attention_factor ?? undefined,
        mscale: rope.mscale,
        mscaleAllDim: rope.mscale_all_dim,
      });
    case "dynamic":
      // Transformers takes the length of the config, also where an original one is given.
      return { kind: "dynamic", factor: rope.factor, originalMaxSeqLen: maxSeqLen };
    case "longrope": {
      const originalMaxSeqLen = rope.original_max_position_embeddings ?? maxSeqLen;
      return withoutUndefined({
        kind: "longrope" as const,
        factor: rope.factor ?? maxSeqLen / originalMaxSeqLen,
        shortFactors: rope.short_factor,
        longFactors: rope.long_factor,
        originalMaxSeqLen,
        attentionFactor: rope.attention_factor ?? undefined,
      });
    }
    default:
      return rope satisfies never;
  }
}

/** The inverse: `rope_theta` and `rope_scaling`, a form that every release of transformers reads. */
export function ropeToJson({ theta, scaling }: { readonly theta: number; readonly scaling: RopeScaling }): {
  rope_theta: number;
  rope_scaling: Record<string, unknown> | null;
} {
  return { rope_theta: theta, rope_scaling: scaling.kind === "default" ? null : scalingToJson(scaling) };
}

function scalingToJson(scaling: RopeScaling): Record<string, unknown> {
  const { kind, ...values } = scaling;
  const names: Record<string, string> = {
    originalMaxSeqLen: "original_max_position_embeddings",
    shortFactors: "short_factor",
    longFactors: "long_factor",
  };
  const entries = Object.entries(values).filter(([key]) => kind !== "dynamic" || key !== "originalMaxSeqLen");
  const snake = (key: string) => names[key] ?? key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  return { rope_type: kind, ...Object.fromEntries(entries.map(([key, value]) => [snake(key), value])) };
}

function renameType(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  const { type, ...rest } = value as Record<string, unknown>;
  return { rope_type: type, ...rest };
}

function withoutUndefined<T extends object>(value: T): T {
  return Object.fromEntries(Object.entries(value).filter(([, item]) => item !== undefined)) as T;
}
