import type { SentencePieceSpec } from "./options.js";
import { UNKNOWN } from "./sentence-normalizer.js";
import { type SentenceCorpus, sortByCount } from "./sentences.js";
import { splitIntoWords } from "./words.js";

/** A learned piece and its score. */
export type Learned = readonly [piece: string, score: number];

/** Characters by falling frequency; score = log(count / total). At most `room` of them. */
export function charPieces(corpus: SentenceCorpus, room: number): Learned[] {
  return logShares(corpus.alphabet, room);
}

/** Words by falling frequency; score = log(count / total). At most `room`; words with unknown characters are left out. */
export function wordPieces(corpus: SentenceCorpus, spec: SentencePieceSpec, room: number): Learned[] {
  const counts = new Map<string, number>();
  for (const [text, count] of corpus.words) {
    for (const word of splitIntoWords(text, { ...spec, allowWhitespaceOnlyPieces: false })) {
      counts.set(word, (counts.get(word) ?? 0) + count);
    }
  }
  return logShares(sortByCount(counts), room);
}

function logShares(counts: readonly (readonly [string, number])[], room: number): Learned[] {
  const logSum = Math.fround(Math.log(counts.reduce((sum, [, count]) => sum + count, 0)));
  return counts
    .filter(([piece]) => !piece.includes(UNKNOWN))
    .slice(0, room)
    .map(([piece, count]) => [piece, Math.fround(Math.fround(Math.log(count)) - logSum)]);
}
