import { HeddleError } from "../error.js";

/** How a model draws one of a word's segmentations instead of taking the best. */
export interface Sampling {
  /** Exponent of a segmentation's probability (unigram). */
  readonly alpha: number;
  /** Probability that a possible merge is passed over (BPE). */
  readonly dropout: number;
  /** Gives numbers in [0, 1). */
  readonly random: () => number;
}

/** The error for models that have one segmentation only. */
export function cannotSample(type: string): HeddleError {
  return new HeddleError(
    "unsupported",
    `createSamplingTokenizer: only BPE and unigram models have several segmentations; got model type ${JSON.stringify(type)}. Use createTokenizer.`,
    { type },
  );
}

/**
 * Creates a generator of numbers in [0, 1) that gives the same sequence for the same seed.
 *
 * @see mulberry32, Tommy Ettinger 2017, public domain
 */
export function createRandom(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
