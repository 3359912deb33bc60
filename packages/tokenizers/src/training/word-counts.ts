import type { Normalizer } from "../normalizers/normalizer.js";
import type { PreTokenizer } from "../pre-tokenizers/kinds.js";
import { CountingPool } from "./counting-workers.js";
import type { TrainingState } from "./progress.js";
import { createPacer, type TrainingControl } from "./progress.js";
import { TextCounter, type WordSource } from "./text-counter.js";
import { checkState, createCheckpoints } from "./training-state.js";

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
  return countWords(texts, { kind: "pipeline", normalizer, preTokenizer, separators }, options);
}

/**
 * Counts the words of a corpus. Only distinct words are kept, so the corpus may be larger than memory.
 *
 * @param texts  documents or lines; a word never spans two of them. On resuming, those that were read are left out
 * @returns words (in the byte alphabet if the pre-tokenizer ends in bytes) with their counts
 */
export async function countWords(
  texts: Iterable<string> | AsyncIterable<string>,
  source: WordSource,
  control: TrainingControl,
): Promise<Map<string, number>> {
  const resume = checkState("countWords", control.resume);
  if (resume?.isCounted === true) return new Map(resume.words);
  const counter = new TextCounter(source, resume?.words);
  const { workers = [] } = control;
  const pool = workers.length > 0 ? new CountingPool(workers, source) : null;
  let numTexts = 0;
  const takeState = async (): Promise<TrainingState> => {
    const all = new TextCounter(source, counter.counts);
    all.addCounts((await pool?.counts()) ?? []);
    return { version: 1, numTexts, isCounted: false, words: [...all.counts] };
  };
  const checkpoints = createCheckpoints(control);
  const pace = createPacer(control, "count");
  try {
    await checkpoints.guard(takeState, async () => {
      let units = 0;
      for await (const text of texts) {
        units += text.length;
        if (numTexts >= (resume?.numTexts ?? 0)) {
          const wait = pool === null ? counter.add(text) : pool.add(text);
          if (wait instanceof Promise) await wait;
        }
        numTexts++;
        const pause = pace(units, null) ?? checkpoints.offer(takeState);
        if (pause !== null) await pause;
      }
      if (pool !== null) counter.addCounts(await pool.counts());
    });
  } finally {
    pool?.close();
  }
  return counter.finish();
}
