import { HeddleError } from "../../error.js";
import { compareCodePoints } from "../alphabet.js";
import type { TrainingControl } from "../progress.js";
import { countWords } from "../word-counts.js";
import type { SentencePieceSpec } from "./options.js";
import { BOUNDARY, createSentenceNormalizer, UNKNOWN } from "./sentence-normalizer.js";

/** A corpus made ready for a SentencePiece trainer. */
export interface SentenceCorpus {
  /** Normalised texts in their order with rare characters replaced; empty unless `keepSentences`. */
  readonly sentences: readonly string[];
  /** Words with their counts as they were read. */
  readonly counted: ReadonlyMap<string, number>;
  /** Words with rare characters replaced and their counts, most frequent first, of equals in order of code points. */
  readonly words: readonly (readonly [word: string, count: number])[];
  /** Characters that get a piece, most frequent first. */
  readonly alphabet: readonly (readonly [char: string, count: number])[];
}

export interface ReadOptions {
  /** Keep the texts themselves, which then must fit into memory. */
  readonly keepSentences: boolean;
  /** Texts in the place of symbols that are not learned. */
  readonly symbols: readonly string[];
}

/**
 * Reads a corpus: normalises each text, counts its words and finds the characters that are frequent enough.
 *
 * Without `keepSentences` only distinct words are kept, so the corpus may be larger than memory.
 *
 * @throws HeddleError "config" if no text is left; the signal's reason if stopped
 * @see sentencepiece/src/trainer_interface.cc, LoadSentences
 */
export async function readSentences(
  texts: Iterable<string> | AsyncIterable<string>,
  spec: SentencePieceSpec,
  { keepSentences, symbols, control }: ReadOptions & { readonly control: TrainingControl },
): Promise<SentenceCorpus> {
  const sentences: string[] = [];
  const read = keepSentences ? recordSentences(texts, spec, { symbols, sentences }) : texts;
  const counts = await countWords(read, { kind: "sentencePiece", spec, symbols }, control);
  if (keepSentences && control.resume?.isCounted === true) for await (const _ of read);
  if (counts.size === 0) {
    throw new HeddleError(
      "config",
      `trainSentencePiece: the corpus must hold text; got only texts that are empty, longer than ${spec.maxSentenceLength} bytes or hold U+2585. Raise maxSentenceLength or give shorter texts.`,
      { maxSentenceLength: spec.maxSentenceLength },
    );
  }
  const alphabet = chooseAlphabet(counts, spec);
  const hide = createHider(alphabet);
  const hidden = new Map<string, number>();
  for (const [word, count] of counts) {
    const known = hide(word);
    hidden.set(known, (hidden.get(known) ?? 0) + count);
  }
  return { sentences: sentences.map(hide), counted: counts, words: sortByCount(hidden), alphabet };
}

/** Hands texts on and notes their normal forms. */
async function* recordSentences(
  texts: Iterable<string> | AsyncIterable<string>,
  spec: SentencePieceSpec,
  { symbols, sentences }: { readonly symbols: readonly string[]; readonly sentences: string[] },
): AsyncGenerator<string> {
  const normalize = createSentenceNormalizer(spec, symbols);
  for await (const text of texts) {
    const sentence = normalize(text);
    if (sentence !== "") sentences.push(sentence);
    yield text;
  }
}

/** Most frequent first; of equals in order of code points. */
export function sortByCount(counts: Iterable<readonly [string, number]>): (readonly [string, number])[] {
  return [...counts].sort(([a, m], [b, n]) => (m === n ? compareCodePoints(a, b) : n - m));
}

function chooseAlphabet(
  counts: ReadonlyMap<string, number>,
  spec: SentencePieceSpec,
): (readonly [string, number])[] {
  const byChar = new Map<string, number>();
  let total = 0;
  for (const [word, count] of counts) {
    for (const char of word) {
      if (char === "\0" || char === " ") continue;
      byChar.set(char, (byChar.get(char) ?? 0) + count);
      total += count;
    }
  }
  const required = new Set(spec.requiredChars);
  const first = Array.from(required, (char) => [char, byChar.get(char) ?? 0] as const);
  const rest = [...byChar].filter(([char]) => !required.has(char));
  const chosen: (readonly [string, number])[] = [];
  let covered = 0;
  for (const entry of [...sortByCount(first), ...sortByCount(rest)]) {
    if (Math.fround(covered / total) >= Math.fround(spec.characterCoverage)) break;
    covered += entry[1];
    if (entry[0] !== BOUNDARY) chosen.push(entry);
  }
  return chosen;
}

/** Replaces characters outside the alphabet. */
function createHider(alphabet: readonly (readonly [string, number])[]): (text: string) => string {
  const known = new Set(alphabet.map(([char]) => char));
  return (text) => {
    let result = "";
    for (const char of text) result += known.has(char) ? char : UNKNOWN;
    return result;
  };
}
