import { HeddleError } from "../../error.js";
import { compileNormalizer } from "../../normalizers/normalizer.js";
import { PieceTrie } from "../../piece-trie.js";
import { compareCodePoints } from "../alphabet.js";
import { createPacer, type TrainingControl } from "../progress.js";
import type { SentencePieceSpec } from "./options.js";
import { splitIntoWords } from "./words.js";

/** Stands for characters without a piece while training goes on (U+2585); texts that hold it are left out. */
export const UNKNOWN = "\u2585";
/** Stands for a symbol that is not learned; no piece spans it. */
export const BOUNDARY = "\t";

/** A corpus made ready for a SentencePiece trainer. */
export interface SentenceCorpus {
  /** Normalised texts in their order with rare characters replaced; empty unless `keepSentences`. */
  readonly sentences: readonly string[];
  /** Words with their counts, most frequent first, of equals in order of code points. */
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
  const normalize = createSentenceNormalizer(spec, symbols);
  const counts = new Map<string, number>();
  const sentences: string[] = [];
  const pace = createPacer(control, "count");
  let units = 0;
  for await (const text of texts) {
    units += text.length;
    const sentence = normalize(text);
    if (sentence !== "") {
      if (keepSentences) sentences.push(sentence);
      const words = spec.splitByWhitespace ? splitIntoWords(sentence, spec) : [sentence];
      for (const word of words) counts.set(word, (counts.get(word) ?? 0) + 1);
    }
    const pause = pace(units, null);
    if (pause !== null) await pause;
  }
  if (counts.size === 0) {
    throw new HeddleError(
      "config",
      `trainSentencePiece: the corpus must hold text; got ${units} characters in texts that are empty, longer than ${spec.maxSentenceLength} bytes or hold U+2585. Raise maxSentenceLength or give shorter texts.`,
      { units, maxSentenceLength: spec.maxSentenceLength },
    );
  }
  const alphabet = chooseAlphabet(counts, spec);
  const hide = createHider(alphabet);
  const hidden = new Map<string, number>();
  for (const [word, count] of counts) {
    const known = hide(word);
    hidden.set(known, (hidden.get(known) ?? 0) + count);
  }
  return { sentences: sentences.map(hide), words: sortByCount(hidden), alphabet };
}

/** Most frequent first; of equals in order of code points. */
export function sortByCount(counts: Iterable<readonly [string, number]>): (readonly [string, number])[] {
  return [...counts].sort(([a, m], [b, n]) => (m === n ? compareCodePoints(a, b) : n - m));
}

/** Returns the normal form of a text, "" if it is left out. */
function createSentenceNormalizer(
  spec: SentencePieceSpec,
  symbols: readonly string[],
): (text: string) => string {
  const normalizer = compileNormalizer({
    type: "SentencePiece",
    precompiledCharsmap: spec.precompiledCharsmap,
    addDummyPrefix: spec.addDummyPrefix,
    removeExtraWhitespaces: spec.removeExtraWhitespaces,
    escapeWhitespaces: true,
    treatWhitespaceAsSuffix: spec.treatWhitespaceAsSuffix,
    userDefinedSymbols: [],
  });
  const trie = new PieceTrie();
  for (const [i, symbol] of symbols.entries()) if (symbol !== "") trie.add(symbol, i);
  const encoder = new TextEncoder();
  const isLong = (text: string): boolean =>
    text.length * 3 > spec.maxSentenceLength && encoder.encode(text).length > spec.maxSentenceLength;
  return (text) => {
    if (text === "" || text.includes(UNKNOWN) || isLong(text)) return "";
    return replaceSymbols(normalizer.apply(text), trie);
  };
}

function replaceSymbols(text: string, trie: PieceTrie): string {
  let result = "";
  let copied = 0;
  for (let at = 0; at < text.length; ) {
    const length = trie.longestPrefix(text, at);
    if (length > 0) {
      result += text.slice(copied, at) + BOUNDARY;
      copied = at + length;
    }
    at += Math.max(1, length);
  }
  return result + text.slice(copied);
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
