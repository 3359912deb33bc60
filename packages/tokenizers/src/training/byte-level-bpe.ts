import { BYTE_CHARACTERS } from "../byte-level.js";
import { createTokenizer } from "../create-tokenizer.js";
import { PLAIN_BPE } from "../models/bpe.js";
import type { PreTokenizer } from "../pre-tokenizers/kinds.js";
import { plainSpecialToken } from "../special-token.js";
import type { Tokenizer, TokenRoles } from "../tokenizer.js";
import { type BpeTrainerOptions, type TrainedBpe, trainBpeOnWords } from "./bpe-trainer.js";
import { countCorpusWords, type WordOptions } from "./word-counts.js";

export interface TrainBpeOptions extends BpeTrainerOptions, Omit<WordOptions, "specialTokens"> {}

/**
 * Learns byte-pair merges from text, over characters or, with a pre-tokenizer that ends in ByteLevel, over bytes.
 *
 * @param texts  documents or lines, read once and not kept; a word never spans two of them
 */
export async function trainBpe(
  texts: Iterable<string> | AsyncIterable<string>,
  options: TrainBpeOptions,
): Promise<TrainedBpe> {
  const words = await countCorpusWords(texts, options);
  return trainBpeOnWords(words, options);
}

export interface TrainByteLevelBpeOptions extends Omit<TrainBpeOptions, "preTokenizer"> {
  /** Cuts text into words (Oniguruma notation); default GPT-2's pattern. */
  readonly pattern?: string;
  /** Extra characters of the byte alphabet are of no use: all 256 are always in. */
  readonly initialAlphabet?: never;
  readonly roles?: TokenRoles;
}

/**
 * Trains a byte-level BPE tokenizer: any text can be encoded, and decodes to itself.
 *
 * @param texts  documents or lines, read once and not kept; a word never spans two of them
 * @param options.vocabSize  tokens in all; at least 256 and the special tokens
 * @param options.minFrequency  a pair that occurs less often is not merged; default 2
 * @param options.specialTokens  get the first ids and are never cut; default none
 * @param options.onProgress  called about twenty times a second
 * @param options.signal  stops the training; the promise rejects with the signal's reason
 * @returns a tokenizer that `toTokenizerJson` can write
 * @throws HeddleError "config" if vocabSize is too small
 * @see Radford et al. 2019, Language Models are Unsupervised Multitask Learners, section 2.2.
 * Differs from Hugging Face's BpeTrainer: special tokens in the corpus are left out (separateSpecialTokens)
 */
export async function trainByteLevelBpe(
  texts: Iterable<string> | AsyncIterable<string>,
  options: TrainByteLevelBpeOptions,
): Promise<Tokenizer> {
  const { normalizer = null, pattern, roles, specialTokens = [] } = options;
  const preTokenizer = byteLevelPreTokenizer(pattern);
  const trained = await trainBpe(texts, { ...options, preTokenizer, initialAlphabet: BYTE_CHARACTERS });
  const byteLevel = { type: "ByteLevel", addPrefixSpace: false, trimOffsets: false, useRegex: true } as const;
  return createTokenizer({
    normalizer,
    preTokenizer,
    model: {
      ...PLAIN_BPE,
      ...trained,
    },
    postProcessor: byteLevel,
    decoder: byteLevel,
    addedTokens: specialTokens.map(plainSpecialToken),
    ...(roles === undefined ? {} : { roles }),
  });
}

function byteLevelPreTokenizer(pattern: string | undefined): PreTokenizer {
  const bytes = { type: "ByteLevel", addPrefixSpace: false, trimOffsets: true } as const;
  if (pattern === undefined) return { ...bytes, useRegex: true };
  return {
    type: "Sequence",
    pretokenizers: [
      { type: "Split", pattern: { type: "Regex", source: pattern }, behavior: "Isolated", invert: false },
      { ...bytes, useRegex: false },
    ],
  };
}
