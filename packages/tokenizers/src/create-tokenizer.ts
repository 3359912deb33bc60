import { createBertWords } from "./bert-words.js";
import { createDecodeStages } from "./decoders/decoder.js";
import { createQuickDecoder } from "./decoders/quick-of.js";
import { HeddleError } from "./error.js";
import { compileModel } from "./models/model.js";
import { createRandom, type Sampling } from "./models/sampling.js";
import { compileNormalizer } from "./normalizers/normalizer.js";
import { assembleTokenizer, type TokenizerParts } from "./pipeline.js";
import { compilePostProcessor } from "./post-processors/post-processor.js";
import { compilePreTokenizer } from "./pre-tokenizers/pre-tokenizer.js";
import type { Tokenizer, TokenizerConfig } from "./tokenizer.js";

/**
 * Creates a tokenizer from its parts.
 *
 * - `encode(text)` returns ids, tokens, masks and offsets. Offsets are [start, end) in UTF-16 units of the original
 *   text: `text.slice(start, end)` is what the token stands for. A token that holds part of a character covers it
 *   whole, so neighbours may overlap there.
 * - `encodeIds(text)` returns the same ids and builds nothing else; `countTokens(text)` not even these.
 * - `streamEncoder()` takes a text in parts and returns ids as soon as they are certain.
 * - `decode(ids)` returns text; `streamDecoder()` gives it out token by token and never half a character.
 *
 * A lone surrogate has no UTF-8 form and is encoded like U+FFFD.
 *
 * A BPE model with `dropout` draws its segmentations with seed 0; `createSamplingTokenizer` takes another seed, and
 * `createTokenizer({ ...config, model: { ...model, dropout: null } })` turns dropout off.
 *
 * @throws HeddleError "format" if the parts contradict each other (a merge of unknown tokens ...)
 */
export function createTokenizer(config: TokenizerConfig): Tokenizer {
  const { model } = config;
  const dropout = model.type === "BPE" ? (model.dropout ?? 0) : 0;
  const sampling = dropout > 0 ? { alpha: 1, dropout, random: createRandom(0) } : null;
  return assembleTokenizer(config, compileParts(config, sampling));
}

export interface SamplingOptions {
  /** Starts the sequence of random numbers; the same seed gives the same tokens, call for call. */
  readonly seed: number;
  /** Unigram: exponent of a segmentation's probability; default 0.1. 1: as the model has it; 0: all alike. */
  readonly alpha?: number;
  /** BPE: probability that a possible merge is passed over; default 0.1. 0: none; 1: characters or bytes only. */
  readonly dropout?: number;
}

/**
 * Creates a tokenizer that draws a new segmentation at each call, so that a model in training sees many.
 *
 * - Unigram models draw from all segmentations with probability proportional to P^alpha (Kudo 2018, Subword
 *   Regularization, arXiv:1804.10959, section 3).
 * - BPE models pass over each possible merge with probability `dropout` (Provilkov et al. 2020, arXiv:1910.13267).
 *
 * Decoding does not change. Encoding advances the random numbers: `encode` and `countTokens` of one text may differ.
 *
 * @param config  the parts, for example `tokenizer.config` of a loaded tokenizer
 * @throws HeddleError "unsupported" for models with one segmentation only, "config" if alpha or dropout is out of range
 */
export function createSamplingTokenizer(config: TokenizerConfig, options: SamplingOptions): Tokenizer {
  const { seed, alpha = 0.1, dropout = 0.1 } = options;
  if (!(alpha >= 0 && Number.isFinite(alpha) && dropout >= 0 && dropout <= 1)) {
    throw new HeddleError(
      "config",
      `createSamplingTokenizer: alpha must be at least 0 and dropout from 0 to 1; got alpha ${alpha}, dropout ${dropout}. Correct them; 0.1 is usual for both.`,
      { alpha, dropout },
    );
  }
  return assembleTokenizer(config, compileParts(config, { alpha, dropout, random: createRandom(seed) }));
}

/** Prepares parts of any kind. */
function compileParts(config: TokenizerConfig, sampling: Sampling | null): TokenizerParts {
  const parts = {
    normalizer: config.normalizer === null ? null : compileNormalizer(config.normalizer),
    preTokenizer: compilePreTokenizer(config.preTokenizer),
    model: compileModel(config.model, sampling),
  };
  const quick = sampling === null ? createBertWords(config, parts) : null;
  return {
    ...(quick === null ? parts : { ...quick, normalizer: null }),
    postProcessor: compilePostProcessor(config.postProcessor),
    createDecodeStages: () => createDecodeStages(config.decoder),
    quickDecoder: createQuickDecoder(config.decoder),
    isRandom: sampling !== null,
  };
}
