import { HeddleError } from "../error.js";
import type { WordLevelModel } from "../models/word-level.js";
import { compareCodePoints } from "./alphabet.js";
import type { TrainingControl } from "./progress.js";
import { countCorpusWords, type WordOptions } from "./word-counts.js";

export interface TrainWordLevelOptions extends WordOptions, TrainingControl {
  /** Tokens in all, special ones included. */
  readonly vocabSize: number;
  /** A word that occurs less often is left out; default 0. */
  readonly minFrequency?: number;
  /** Stands for words outside the vocabulary; must be among specialTokens. Default "[UNK]". */
  readonly unkToken?: string;
}

/**
 * Learns a vocabulary of whole words: the most frequent ones, of equals the first in code point order.
 *
 * @param texts  documents or lines, read once and not kept
 * @returns a model for `createTokenizer`: special tokens first, then words by falling frequency
 * @throws HeddleError "config" if unkToken is not a special token; the signal's reason if stopped
 * @see Hugging Face tokenizers, WordLevelTrainer: the same vocabulary, id for id
 */
export async function trainWordLevel(
  texts: Iterable<string> | AsyncIterable<string>,
  options: TrainWordLevelOptions,
): Promise<WordLevelModel> {
  const { vocabSize, minFrequency = 0, specialTokens = [], unkToken = "[UNK]" } = options;
  requireSpecial("trainWordLevel", unkToken, specialTokens);
  const counts = await countCorpusWords(texts, options);
  const words = [...counts].filter(([, count]) => count >= minFrequency);
  words.sort(([a, m], [b, n]) => (m === n ? compareCodePoints(a, b) : n - m));
  const tokens = new Set(specialTokens);
  for (const [word] of words) {
    if (tokens.size >= vocabSize) break;
    tokens.add(word);
  }
  options.onProgress?.({ phase: "merge", done: tokens.size, total: tokens.size });
  return { type: "WordLevel", vocab: [...tokens].map((token, id) => [token, id] as const), unkToken };
}

/** Checks that the unknown token gets an id. */
export function requireSpecial(caller: string, unkToken: string, specialTokens: readonly string[]): void {
  if (specialTokens.includes(unkToken)) return;
  throw new HeddleError(
    "config",
    `${caller}: unkToken must be one of specialTokens; got unkToken ${JSON.stringify(unkToken)}, specialTokens ${JSON.stringify(specialTokens)}. Add it there or name another one.`,
    { unkToken, specialTokens },
  );
}
