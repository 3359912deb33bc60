/** How the rotation frequencies of a trained model are stretched to longer texts. A closed union on `kind`. */
export type RopeScaling =
  | DefaultScaling
  | LinearScaling
  | DynamicScaling
  | YarnScaling
  | Llama3Scaling
  | LongRopeScaling
  | ProportionalScaling;

/** No change. */
export interface DefaultScaling {
  readonly kind: "default";
}

/** Every frequency divided by `factor`. @see Chen et al. 2023, Position Interpolation, arXiv:2306.15595. */
export interface LinearScaling {
  readonly kind: "linear";
  readonly factor: number;
}

/** A larger base once the text is longer than the training length ("dynamic NTK"). */
export interface DynamicScaling {
  readonly kind: "dynamic";
  readonly factor: number;
  /** Training length, in tokens. */
  readonly originalMaxSeqLen: number;
  /** Length of the text at hand, in tokens. Default: the training length, i.e. no change. */
  readonly seqLen?: number;
}

/** Long wavelengths interpolated, short ones kept, a ramp between. @see Peng et al. 2023, YaRN, arXiv:2309.00071. */
export interface YarnScaling {
  readonly kind: "yarn";
  readonly factor: number;
  readonly originalMaxSeqLen: number;
  /** Rotations over the training length above which a frequency is kept. Default 32. */
  readonly betaFast?: number;
  /** Rotations over the training length below which a frequency is fully interpolated. Default 1. */
  readonly betaSlow?: number;
  /** Rounds the ends of the ramp to whole dimensions. Default true. */
  readonly truncate?: boolean;
  /** Multiplies cos and sin; default 0.1 ln(factor) + 1, or the ratio of the two `mscale`s. */
  readonly attentionFactor?: number;
  readonly mscale?: number;
  readonly mscaleAllDim?: number;
}

/** Three bands by wavelength: kept, blended, divided by `factor`. @see Llama 3.1 (Meta, 2024). */
export interface Llama3Scaling {
  readonly kind: "llama3";
  readonly factor: number;
  readonly lowFreqFactor: number;
  readonly highFreqFactor: number;
  readonly originalMaxSeqLen: number;
}

/** One searched divisor per frequency, a short and a long set. @see Ding et al. 2024, LongRoPE, arXiv:2402.13753. */
export interface LongRopeScaling {
  readonly kind: "longrope";
  readonly shortFactors: readonly number[];
  readonly longFactors: readonly number[];
  readonly originalMaxSeqLen: number;
  /** Length of the text at hand, in tokens: the long set applies above `originalMaxSeqLen`. Default: short. */
  readonly seqLen?: number;
  /** Extended length over training length: sets `attentionFactor` where that is not given. Default 1. */
  readonly factor?: number;
  readonly attentionFactor?: number;
}

/** Only the first part of the pairs turn, at the frequencies of the whole head; the rest stand still. */
export interface ProportionalScaling {
  readonly kind: "proportional";
  /** Part of the pairs that turn, 0..1. */
  readonly rotatedFraction: number;
  readonly factor?: number;
}

/** theta^(-2i / dim) for i = 0 .. dim/2 - 1. */
export function plainFrequencies(dim: number, theta: number): Float64Array {
  return Float64Array.from({ length: dim / 2 }, (_, i) => theta ** ((-2 * i) / dim));
}

/** Frequencies with a base that grows with the text: theta' = theta (s * n / n0 - (s - 1))^(d / (d - 2)). */
export function dynamicFrequencies(dim: number, theta: number, scaling: DynamicScaling): Float64Array {
  const { factor, originalMaxSeqLen } = scaling;
  const seqLen = Math.max(scaling.seqLen ?? originalMaxSeqLen, originalMaxSeqLen);
  const growth = (factor * seqLen) / originalMaxSeqLen - (factor - 1);
  return plainFrequencies(dim, theta * growth ** (dim / (dim - 2)));
}

export function llama3Frequencies(dim: number, theta: number, scaling: Llama3Scaling): Float64Array {
  const { factor, lowFreqFactor, highFreqFactor, originalMaxSeqLen } = scaling;
  return plainFrequencies(dim, theta).map((frequency) => {
    const rotations = (originalMaxSeqLen * frequency) / (2 * Math.PI);
    if (rotations > highFreqFactor) return frequency;
    if (rotations < lowFreqFactor) return frequency / factor;
    const kept = (rotations - lowFreqFactor) / (highFreqFactor - lowFreqFactor);
    return frequency * (kept + (1 - kept) / factor);
  });
}

export function yarnFrequencies(dim: number, theta: number, scaling: YarnScaling): Float64Array {
  const [low, high] = yarnRamp(dim, theta, scaling);
  return plainFrequencies(dim, theta).map((frequency, i) => {
    const interpolated = Math.min(1, Math.max(0, (i - low) / (high - low)));
    return frequency * (1 - interpolated + interpolated / scaling.factor);
  });
}

/** First kept and first fully interpolated dimension of the ramp. */
function yarnRamp(dim: number, theta: number, scaling: YarnScaling): readonly [number, number] {
  const dimensionOf = (rotations: number): number =>
    (dim * Math.log(scaling.originalMaxSeqLen / (rotations * 2 * Math.PI))) / (2 * Math.log(theta));
  const round = scaling.truncate ?? true;
  const fast = dimensionOf(scaling.betaFast ?? 32);
  const slow = dimensionOf(scaling.betaSlow ?? 1);
  const low = Math.max(round ? Math.floor(fast) : fast, 0);
  const high = Math.min(round ? Math.ceil(slow) : slow, dim - 1);
  return [low, high === low ? low + 0.001 : high];
}

/** Factor on cos and sin that keeps the entropy of attention at long lengths. @see YaRN, equation 22. */
export function yarnAttentionScale(scaling: YarnScaling): number {
  const { factor, mscale, mscaleAllDim } = scaling;
  if (scaling.attentionFactor !== undefined) return scaling.attentionFactor;
  const growth = (weight: number): number => (factor <= 1 ? 1 : 0.1 * weight * Math.log(factor) + 1);
  return mscale && mscaleAllDim ? growth(mscale) / growth(mscaleAllDim) : growth(1);
}

export function longRopeFrequencies(dim: number, theta: number, scaling: LongRopeScaling): Float64Array {
  const { originalMaxSeqLen, seqLen = originalMaxSeqLen } = scaling;
  const factors = seqLen > originalMaxSeqLen ? scaling.longFactors : scaling.shortFactors;
  return plainFrequencies(dim, theta).map((frequency, i) => frequency / (factors[i] ?? 1));
}

export function longRopeAttentionScale(scaling: LongRopeScaling): number {
  const { attentionFactor, factor = 1, originalMaxSeqLen } = scaling;
  if (attentionFactor !== undefined) return attentionFactor;
  return factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(originalMaxSeqLen));
}

export function proportionalFrequencies(
  dim: number,
  theta: number,
  scaling: ProportionalScaling,
): Float64Array {
  const turning = Math.floor((scaling.rotatedFraction * dim) / 2);
  return plainFrequencies(dim, theta).map((frequency, i) =>
    i < turning ? frequency / (scaling.factor ?? 1) : 0,
  );
}
