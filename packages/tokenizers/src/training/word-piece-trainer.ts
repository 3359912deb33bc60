import type { WordPieceModel } from "../models/word-piece.js";
import type { AlphabetOptions } from "./alphabet.js";
import { trainBpeOnWords } from "./bpe-trainer.js";
import type { TrainingControl } from "./progress.js";
import { countCorpusWords, type WordOptions } from "./word-counts.js";
import { requireSpecial } from "./word-level-trainer.js";

export interface TrainWordPieceOptions extends WordOptions, AlphabetOptions, TrainingControl {
  /** Tokens in all: special tokens, alphabet (with and without prefix) and longer pieces. */
  readonly vocabSize: number;
  /** A pair that occurs less often is not merged; default 2. */
  readonly minFrequency?: number;
  /** Marks pieces inside a word; default "##". */
  readonly continuingSubwordPrefix?: string;
  /** Stands for words that cannot be covered; must be among specialTokens. Default "[UNK]". */
  readonly unkToken?: string;
  /** A longer word (in code points) becomes the unknown token; default 100. */
  readonly maxInputCharsPerWord?: number;
}

/**
 * Learns a WordPiece vocabulary by byte-pair merges over characters, those inside a word marked by a prefix.
 *
 * Differs from the paper, as Hugging Face's WordPieceTrainer does: pairs are chosen by frequency, not by likelihood.
 * That trainer breaks ties by chance; here equals merge in order of ids, characters being numbered by code point.
 *
 * @param texts  documents or lines, read once and not kept; a word never spans two of them
 * @returns a model for `createTokenizer`
 * @throws HeddleError "config" if vocabSize is too small or unkToken is not a special token
 * @see Schuster and Nakajima 2012; Devlin et al. 2018, BERT, arXiv:1810.04805
 */
export async function trainWordPiece(
  texts: Iterable<string> | AsyncIterable<string>,
  options: TrainWordPieceOptions,
): Promise<WordPieceModel> {
  const {
    unkToken = "[UNK]",
    continuingSubwordPrefix = "##",
    maxInputCharsPerWord = 100,
    specialTokens = [],
  } = options;
  requireSpecial("trainWordPiece", unkToken, specialTokens);
  const words = await countCorpusWords(texts, options);
  const { vocab } = await trainBpeOnWords(words, { ...options, continuingSubwordPrefix });
  return { type: "WordPiece", vocab, unkToken, continuingSubwordPrefix, maxInputCharsPerWord };
}
