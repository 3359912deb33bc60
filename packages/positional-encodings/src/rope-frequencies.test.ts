import { expect, test } from "vitest";
import { readGolden, readGoldenIndex } from "../test/golden/read.js";
import { type RopeFrequencyOptions, ropeFrequencies } from "./rope-frequencies.js";
import type { RopeScaling } from "./rope-scaling.js";

/** Hugging Face's keys; each rope_type has some of them. */
interface HfParameters {
  readonly rope_type: string;
  readonly rope_theta: number;
  readonly factor: number;
  readonly partial_rotary_factor: number;
  readonly original_max_position_embeddings: number;
  readonly low_freq_factor: number;
  readonly high_freq_factor: number;
  readonly short_factor: readonly number[];
  readonly long_factor: readonly number[];
  readonly beta_fast?: number;
  readonly beta_slow?: number;
  readonly truncate?: boolean;
  readonly attention_factor?: number;
  readonly mscale?: number;
  readonly mscale_all_dim?: number;
}

interface GoldenCase {
  readonly rope_parameters: HfParameters;
  readonly head_dim: number;
  readonly max_position_embeddings: number;
  readonly seq_len: number | null;
  readonly attention_scaling: number;
}

const cases = readGoldenIndex<{ rope: { cases: Record<string, GoldenCase> } }>().rope.cases;
const golden = readGolden("rope.safetensors");

/** Reads the golden's Hugging Face parameters as our options. */
function optionsOf(name: string, golden: GoldenCase): RopeFrequencyOptions {
  const p = golden.rope_parameters;
  const seqLen = golden.seq_len ?? undefined;
  const scalings: Record<string, () => RopeScaling> = {
    default: () => ({ kind: "default" }),
    linear: () => ({ kind: "linear", factor: p.factor }),
    dynamic: () => ({
      kind: "dynamic",
      factor: p.factor,
      originalMaxSeqLen: golden.max_position_embeddings,
      seqLen,
    }),
    yarn: () => ({
      kind: "yarn",
      factor: p.factor,
      originalMaxSeqLen: p.original_max_position_embeddings,
      betaFast: p.beta_fast,
      betaSlow: p.beta_slow,
      truncate: p.truncate,
      attentionFactor: p.attention_factor,
      mscale: p.mscale,
      mscaleAllDim: p.mscale_all_dim,
    }),
    llama3: () => ({
      kind: "llama3",
      factor: p.factor,
      lowFreqFactor: p.low_freq_factor,
      highFreqFactor: p.high_freq_factor,
      originalMaxSeqLen: p.original_max_position_embeddings,
    }),
    longrope: () => ({
      kind: "longrope",
      factor: p.factor,
      shortFactors: p.short_factor,
      longFactors: p.long_factor,
      originalMaxSeqLen: p.original_max_position_embeddings,
      seqLen,
    }),
    proportional: () => ({ kind: "proportional", rotatedFraction: p.partial_rotary_factor }),
  };
  const scaling = scalings[p.rope_type]?.();
  const rotaryDim = name === "partial" ? golden.head_dim * p.partial_rotary_factor : golden.head_dim;
  return { rotaryDim, theta: p.rope_theta, scaling };
}

test.each(Object.entries(cases))("frequencies of %s equal transformers'", (name, golden_case) => {
  const { inverseFrequencies, attentionScale } = ropeFrequencies(optionsOf(name, golden_case));
  const expected = golden.get(`${name}.inv_freq`).data;
  expect(inverseFrequencies.length).toBe(expected.length);
  for (const [i, value] of expected.entries()) {
    expect(Math.abs((inverseFrequencies[i] ?? Number.NaN) - value)).toBeLessThanOrEqual(6e-8 * value);
  }
  expect(attentionScale).toBeCloseTo(golden_case.attention_scaling, 12);
});

test.each(Object.entries(cases))(
  "float64 angles of %s give the golden cos and sin tables",
  (name, golden_case) => {
    const { inverseFrequencies, attentionScale } = ropeFrequencies(optionsOf(name, golden_case));
    const positions = golden.get("positions").data;
    const cos = golden.get(`${name}.cos`).data;
    const sin = golden.get(`${name}.sin`).data;
    const pairs = inverseFrequencies.length;
    let worst = 0;
    for (const [row, position] of positions.entries()) {
      for (const [i, frequency] of inverseFrequencies.entries()) {
        const angle = position * frequency;
        worst = Math.max(
          worst,
          Math.abs(Math.cos(angle) * attentionScale - (cos[row * pairs + i] ?? Number.NaN)),
        );
        worst = Math.max(
          worst,
          Math.abs(Math.sin(angle) * attentionScale - (sin[row * pairs + i] ?? Number.NaN)),
        );
      }
    }
    expect(worst).toBeLessThanOrEqual(1.3e-7);
  },
);

test("an odd rotaryDim is refused", () => {
  expect(() => ropeFrequencies({ rotaryDim: 15 })).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: ropeFrequencies: rotaryDim must be even and above 0, because features turn in pairs; got rotaryDim 15. Use headDim, or the even part of it that your model rotates.]`,
  );
});

test("a factor of zero is refused", () => {
  const scaling = { kind: "linear", factor: 0 } as const;
  expect(() => ropeFrequencies({ rotaryDim: 8, scaling })).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: ropeFrequencies: factor must be a finite number above 0; got factor 0. Take the value from the model's config.]`,
  );
});

test("longrope of a model that was trained on one token is refused", () => {
  const scaling = { kind: "longrope", shortFactors: [1], longFactors: [1], originalMaxSeqLen: 1 } as const;
  expect(() => ropeFrequencies({ rotaryDim: 2, scaling })).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: ropeFrequencies: longrope needs an originalMaxSeqLen above 1, whose logarithm it divides by; got originalMaxSeqLen 1. Check it against the model's config.]`,
  );
});

test("longrope lists of the wrong length are refused", () => {
  const scaling = { kind: "longrope", shortFactors: [1], longFactors: [1, 2], originalMaxSeqLen: 8 } as const;
  expect(() => ropeFrequencies({ rotaryDim: 8, scaling })).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: ropeFrequencies: longrope needs one factor per pair, rotaryDim / 2 = 4; got 1 shortFactors, 2 longFactors. Check rotaryDim against the model's config.]`,
  );
});

test("llama3 bands in the wrong order are refused", () => {
  const scaling = {
    kind: "llama3",
    factor: 8,
    lowFreqFactor: 4,
    highFreqFactor: 1,
    originalMaxSeqLen: 8192,
  } as const;
  expect(() => ropeFrequencies({ rotaryDim: 8, scaling })).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: ropeFrequencies: llama3 needs highFreqFactor above lowFreqFactor; got highFreqFactor 1, lowFreqFactor 4. Swap them.]`,
  );
});

test("a rotated fraction above one is refused", () => {
  const scaling = { kind: "proportional", rotatedFraction: 1.5 } as const;
  expect(() => ropeFrequencies({ rotaryDim: 8, scaling })).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: ropeFrequencies: rotatedFraction must lie in 0..1; got rotatedFraction 1.5. Divide the rotated features by headDim.]`,
  );
});
