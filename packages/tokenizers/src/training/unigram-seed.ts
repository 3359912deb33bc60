import { compareCodePoints } from "./alphabet.js";
import { repeatedSubstrings } from "./suffix-array.js";

/** A piece and how much speaks for it: a score, a count or a log probability. */
export type ScoredPiece = readonly [piece: string, score: number];

/**
 * Chooses the pieces that unigram training starts from: all characters, then the repeated substrings with the greatest
 * count times length.
 *
 * Substrings are counted once per distinct word, and the end of a word counts as a symbol: a substring that only ever
 * ends words is no candidate. SentencePiece and Hugging Face `tokenizers` do the same.
 *
 * @returns pieces with log probabilities
 */
export function seedPieces(
  wordCounts: ReadonlyMap<string, number>,
  options: { readonly seedSize: number; readonly maxPieceLength: number },
): ScoredPiece[] {
  const seeds = characterCounts(wordCounts);
  const symbols = Int32Array.from(joinWords(wordCounts.keys()));
  const candidates: ScoredPiece[] = [];
  for (const { start, length, count } of repeatedSubstrings(symbols)) {
    if (length < 2 || length > options.maxPieceLength) continue;
    const piece = symbols.subarray(start, start + length);
    if (piece.includes(WORD_END)) continue;
    candidates.push([String.fromCodePoint(...piece), count * length]);
  }
  const room = Math.max(1, options.seedSize - seeds.length);
  seeds.push(...candidates.sort(byFallingScore).slice(0, room));
  const logSum = Math.log(seeds.reduce((sum, [, score]) => sum + score, 0));
  return seeds.map(([piece, score]) => [piece, Math.log(score) - logSum]);
}

/** The symbol behind each word; code points are stored as they are, and U+0000 in a text ends a word too. */
const WORD_END = 0;

function characterCounts(wordCounts: ReadonlyMap<string, number>): ScoredPiece[] {
  const counts = new Map<string, number>();
  for (const [word, count] of wordCounts) {
    for (const char of word) if (char !== "\0") counts.set(char, (counts.get(char) ?? 0) + count);
  }
  return [...counts].sort(byFallingScore);
}

function byFallingScore([a, m]: ScoredPiece, [b, n]: ScoredPiece): number {
  return m === n ? compareCodePoints(b, a) : n - m;
}

function* joinWords(words: Iterable<string>): Generator<number> {
  for (const word of words) {
    for (const char of word) yield char.codePointAt(0) as number;
    yield WORD_END;
  }
}
