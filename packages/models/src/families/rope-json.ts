import type { RopeScaling } from "@heddle/positional-encodings";
import { z } from "zod";
import type { DecoderConfig, Positions, RopePositions } from "../config.js";

const positive = z.number().positive();
/** Keys that every kind may have beside its own. */
const shared = { rope_theta: positive.optional(), partial_rotary_factor: positive.max(1).optional() };
const original = positive.int().optional();

/** Rotary scaling as config.json spells it; `type` is the older name of `rope_type`. */
const scalingJson = z.discriminatedUnion("rope_type", [
  z.strictObject({ rope_type: z.literal("default"), ...shared }),
  z.strictObject({ rope_type: z.literal("linear"), ...shared, factor: positive }),
  z.strictObject({
    rope_type: z.literal("llama3"),
    ...shared,
    factor: positive,
    low_freq_factor: positive,
    high_freq_factor: positive,
    original_max_position_embeddings: positive.int(),
  }),
  z.strictObject({
    rope_type: z.literal("yarn"),
    ...shared,
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
    ...shared,
    factor: positive,
    original_max_position_embeddings: original,
  }),
  z.strictObject({
    rope_type: z.literal("longrope"),
    ...shared,
    factor: positive.optional(),
    short_factor: z.array(positive),
    long_factor: z.array(positive),
    original_max_position_embeddings: original,
    attention_factor: positive.nullish(),
  }),
]);

/** `rope_parameters` (current) or `rope_scaling` (older) of a config.json. */
const ropeJson = z.preprocess(renameType, scalingJson).nullish();

/** Keys of rotary positions: all in `rope_parameters`, or the base beside `rope_scaling`. */
export const ropeKeys = {
  rope_theta: positive.nullish(),
  rope_scaling: ropeJson,
  rope_parameters: ropeJson,
  /** Some releases repeat here what longrope's parameters hold. */
  original_max_position_embeddings: positive.int().nullish(),
};

/** The part of a head that turns, for families that turn only a part. */
export const partialRotaryKey = { partial_rotary_factor: positive.max(1).nullish() };

type RopeJson = z.infer<typeof scalingJson>;

interface RopeKeysJson {
  readonly rope_parameters?: RopeJson | null | undefined;
  readonly rope_scaling?: RopeJson | null | undefined;
  readonly rope_theta?: number | null | undefined;
  readonly original_max_position_embeddings?: number | null | undefined;
  readonly partial_rotary_factor?: number | null | undefined;
}

/** Reads both forms. */
export function ropeFromJson(
  json: RopeKeysJson,
  { headDim, maxSeqLen, theta: usual = 10_000 }: { headDim: number; maxSeqLen: number; theta?: number },
): RopePositions {
  const rope = json.rope_parameters ?? json.rope_scaling ?? { rope_type: "default" };
  const theta = rope.rope_theta ?? json.rope_theta ?? usual;
  const fraction = rope.partial_rotary_factor ?? json.partial_rotary_factor ?? 1;
  const original = json.original_max_position_embeddings ?? maxSeqLen;
  return {
    kind: "rope",
    theta,
    scaling: scalingFromJson(rope, { maxSeqLen, original }),
    ...(fraction === 1 ? {} : { rotaryDim: Math.floor(headDim * fraction) }),
  };
}

function scalingFromJson(
  rope: RopeJson,
  { maxSeqLen, original: usual }: { readonly maxSeqLen: number; readonly original: number },
): RopeScaling {
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
        originalMaxSeqLen: rope.original_max_position_embeddings ?? usual,
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
      const originalMaxSeqLen = rope.original_max_position_embeddings ?? usual;
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

/** The inverse: `rope_theta` and `rope_scaling`, a form that every release of transformers reads; nothing for other positions. */
export function ropeToJson(positions: Positions): Record<string, unknown> {
  if (positions.kind !== "rope") return {};
  const { theta, scaling } = positions;
  return { rope_theta: theta, rope_scaling: scaling.kind === "default" ? null : scalingToJson(scaling) };
}

/** `partial_rotary_factor`, the inverse of the part of a head that turns. */
export function partialRotaryToJson({ positions, headDim }: DecoderConfig): Record<string, unknown> {
  if (positions.kind !== "rope") return {};
  return { partial_rotary_factor: (positions.rotaryDim ?? headDim) / headDim };
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
  // "su" is the name that longrope had in the first releases of Phi-3.
  return { rope_type: type === "su" ? "longrope" : (type ?? "default"), ...rest };
}

function withoutUndefined<T extends object>(value: T): T {
  return Object.fromEntries(Object.entries(value).filter(([, item]) => item !== undefined)) as T;
}
