import { HeddleError } from "@heddle/tensor";
import {
  dynamicFrequencies,
  llama3Frequencies,
  longRopeAttentionScale,
  longRopeFrequencies,
  plainFrequencies,
  proportionalFrequencies,
  type RopeScaling,
  yarnAttentionScale,
  yarnFrequencies,
} from "./rope-scaling.js";

/** What a rotation by position needs to know: one angle per token and pair of features, and a factor on cos and sin. */
export interface RopeFrequencies {
  /** Radians per token of each pair, `[rotaryDim / 2]`, in float64. */
  readonly inverseFrequencies: Float64Array;
  /** Multiplies cos and sin (YaRN, LongRoPE); 1 elsewhere. */
  readonly attentionScale: number;
}

/** Which frequencies a model was trained with. */
export interface RopeFrequencyOptions {
  /** Number of features of a head that turn: even, at most headDim. */
  readonly rotaryDim: number;
  /** Base wavelength, unitless. Default 10 000 (the paper's). */
  readonly theta?: number;
  /** How the frequencies are stretched. Default `{ kind: "default" }`: not at all. */
  readonly scaling?: RopeScaling;
}

/**
 * Computes the rotation frequencies of rotary position encoding: f_i = theta^(-2i / rotaryDim), then scaled.
 *
 * All arithmetic is float64.
 * @returns inverseFrequencies [rotaryDim / 2] in radians per token, and the factor on cos and sin: plain data
 * @throws HeddleError "config" if rotaryDim is odd, theta, a factor or a training length is not positive, longrope's lists do not
 * fit, llama3's highFreqFactor is not above lowFreqFactor, or rotatedFraction is not in 0..1
 * @see Su et al. 2021, RoFormer, arXiv:2104.09864, section 3.4; each scaling names its source in rope-scaling.ts
 */
export function ropeFrequencies(options: RopeFrequencyOptions): RopeFrequencies {
  const { rotaryDim, theta = 10_000, scaling = { kind: "default" } } = options;
  checkRotaryDim(rotaryDim);
  checkPositive("theta", theta);
  checkScaling(rotaryDim, scaling);
  switch (scaling.kind) {
    case "default":
      return { inverseFrequencies: plainFrequencies(rotaryDim, theta), attentionScale: 1 };
    case "linear": {
      const inverseFrequencies = plainFrequencies(rotaryDim, theta).map(
        (frequency) => frequency / scaling.factor,
      );
      return { inverseFrequencies, attentionScale: 1 };
    }
    case "dynamic":
      return { inverseFrequencies: dynamicFrequencies(rotaryDim, theta, scaling), attentionScale: 1 };
    case "yarn":
      return {
        inverseFrequencies: yarnFrequencies(rotaryDim, theta, scaling),
        attentionScale: yarnAttentionScale(scaling),
      };
    case "llama3":
      return { inverseFrequencies: llama3Frequencies(rotaryDim, theta, scaling), attentionScale: 1 };
    case "longrope":
      return {
        inverseFrequencies: longRopeFrequencies(rotaryDim, theta, scaling),
        attentionScale: longRopeAttentionScale(scaling),
      };
    case "proportional":
      return { inverseFrequencies: proportionalFrequencies(rotaryDim, theta, scaling), attentionScale: 1 };
    default:
      return scaling satisfies never;
  }
}

function checkRotaryDim(rotaryDim: number): void {
  if (!Number.isInteger(rotaryDim) || rotaryDim <= 0 || rotaryDim % 2 !== 0) {
    throw new HeddleError(
      "config",
      `ropeFrequencies: rotaryDim must be even and above 0, because features turn in pairs; got rotaryDim ${rotaryDim}. Use headDim, or the even part of it that your model rotates.`,
      { rotaryDim },
    );
  }
}

function checkPositive(name: string, value: number): void {
  if (!(value > 0) || value === Number.POSITIVE_INFINITY) {
    throw new HeddleError(
      "config",
      `ropeFrequencies: ${name} must be a finite number above 0; got ${name} ${value}. Take the value from the model's config.`,
      { [name]: value },
    );
  }
}

function checkScaling(rotaryDim: number, scaling: RopeScaling): void {
  if ("factor" in scaling && scaling.factor !== undefined) checkPositive("factor", scaling.factor);
  if ("originalMaxSeqLen" in scaling) checkPositive("originalMaxSeqLen", scaling.originalMaxSeqLen);
  if (scaling.kind === "longrope") {
    const { shortFactors, longFactors, originalMaxSeqLen } = scaling;
    if (originalMaxSeqLen <= 1) {
      throw new HeddleError(
        "config",
        `ropeFrequencies: longrope needs an originalMaxSeqLen above 1, whose logarithm it divides by; got originalMaxSeqLen ${originalMaxSeqLen}. Check it against the model's config.`,
        { originalMaxSeqLen },
      );
    }
    if (shortFactors.length !== rotaryDim / 2 || longFactors.length !== rotaryDim / 2) {
      throw new HeddleError(
        "config",
        `ropeFrequencies: longrope needs one factor per pair, rotaryDim / 2 = ${rotaryDim / 2}; got ${shortFactors.length} shortFactors, ${longFactors.length} longFactors. Check rotaryDim against the model's config.`,
        { rotaryDim, shortFactors: shortFactors.length, longFactors: longFactors.length },
      );
    }
  }
  if (scaling.kind === "llama3" && !(scaling.highFreqFactor > scaling.lowFreqFactor)) {
    throw new HeddleError(
      "config",
      `ropeFrequencies: llama3 needs highFreqFactor above lowFreqFactor; got highFreqFactor ${scaling.highFreqFactor}, lowFreqFactor ${scaling.lowFreqFactor}. Swap them.`,
      { lowFreqFactor: scaling.lowFreqFactor, highFreqFactor: scaling.highFreqFactor },
    );
  }
  if (scaling.kind === "proportional" && !(scaling.rotatedFraction >= 0 && scaling.rotatedFraction <= 1)) {
    throw new HeddleError(
      "config",
      `ropeFrequencies: rotatedFraction must lie in 0..1; got rotatedFraction ${scaling.rotatedFraction}. Divide the rotated features by headDim.`,
      { rotatedFraction: scaling.rotatedFraction },
    );
  }
}
