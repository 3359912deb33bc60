import { type AddedToken, createAddedTokenFinder } from "../added-tokens.js";
import type { AlignedText } from "../aligned-text.js";
import { toByteLevel } from "../byte-level.js";
import { compileNormalizer, type Normalizer } from "../normalizers/normalizer.js";
import { compilePreTokenizer, type PreTokenizer } from "../pre-tokenizers/pre-tokenizer.js";
import { createPacer, type TrainingControl } from "./progress.js";

/** How text is cut into the words that training counts. */
export interface WordSource {
  readonly normalizer: Normalizer | null;
  readonly preTokenizer: PreTokenizer | null;
  /** Texts that end a word and are not counted themselves. */
  readonly separators: readonly string[];
}

/** What every trainer asks about the way from text to words. */
export interface WordOptions {
  readonly normalizer?: Normalizer | null;
  readonly preTokenizer?: PreTokenizer | null;
  /** Get the first ids. */
  readonly specialTokens?: readonly string[];
  /**
   * Special tokens inside the corpus end a word and are not counted; default true. False counts them as text, as
   * Hugging Face `tokenizers` does.
   */
  readonly separateSpecialTokens?: boolean;
}

/** Counts the words of a corpus as the options of a trainer ask for it. */
export function countCorpusWords(
  texts: Iterable<string> | AsyncIterable<string>,
  options: WordOptions & TrainingControl,
): Promise<Map<string, number>> {
  const {
    normalizer = null,
    preTokenizer = null,
    separateSpecialTokens = true,
    specialTokens = [],
  } = options;
  const separators = separateSpecialTokens ? specialTokens : [];
  return countWords(texts, { normalizer, preTokenizer, separators }, options);
}

/**
 * Counts the words of a corpus. Only distinct words are kept, so the corpus may be larger than memory.
 *
 * @param texts  documents or lines; a word never spans two of them
 * @returns words (in the byte alphabet if the pre-tokenizer ends in bytes) with their counts
 */
export async function countWords(
  texts: Iterable<string> | AsyncIterable<string>,
  source: WordSource,
  control: TrainingControl,
): Promise<Map<string, number>> {
  const normalizer = source.normalizer === null ? null : compileNormalizer(source.normalizer);
  const preTokenizer = compilePreTokenizer(source.preTokenizer);
  const finder = createAddedTokenFinder(source.separators.map(separator), normalizer);
  const pace = createPacer(control, "count");
  const counts = new Map<string, number>();
  let units = 0;
  for await (const text of texts) {
    for (const segment of finder.split(text, { parseSpecial: true, track: preTokenizer.needsAlignment })) {
      if (segment.token !== null) continue;
      const words: AlignedText[] = [];
      preTokenizer.split(segment.text, words);
      for (const { text: word } of words) counts.set(word, (counts.get(word) ?? 0) + 1);
    }
    units += text.length;
    const pause = pace(units, null);
    if (pause !== null) await pause;
  }
  if (!preTokenizer.endsInBytes) return counts;
  return new Map(Array.from(counts, ([word, count]) => [toByteLevel(word), count]));
}

function separator(content: string): AddedToken {
  const plain = { singleWord: false, lstrip: false, rstrip: false, normalized: false };
  return { id: 0, content, special: true, ...plain };
}
