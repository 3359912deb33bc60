import { checkTexts } from "./check-texts.js";
import { wordsOf } from "./metric-tokens.js";
import { countAll, countMatches, countNgrams } from "./ngrams.js";

export interface ChrfOptions {
  /** Longest sequences of characters. Default 6. */
  readonly charOrder?: number;
  /** Longest sequences of words; 2 makes chrF++. Default 0. */
  readonly wordOrder?: number;
  /** How many times more recall counts than precision. Default 2. */
  readonly beta?: number;
  /** Letters' case does not count. Default false. */
  readonly isLowercased?: boolean;
  /** White space counts as characters. Default false. */
  readonly keepsSpaces?: boolean;
  /** Every order counts, those without sequences with 1e-16, as in the metric's first program. Default false: they are left out. */
  readonly usesEpsilon?: boolean;
}

/**
 * chrF of a corpus: F score over sequences of characters, and for chrF++ of words; 0..100, as sacreBLEU counts it.
 *
 * @param references  sets of references; of each sentence's the best one counts
 * @throws HeddleError "shape" for sets of other lengths
 * @see Popović 2015, chrF; Popović 2017, chrF++
 */
export function chrf(
  hypotheses: readonly string[],
  references: readonly (readonly string[])[],
  options: ChrfOptions = {},
): number {
  checkTexts("chrf", hypotheses, references);
  const sums: OrderCounts[] = [];
  for (const [at, text] of hypotheses.entries()) {
    const own = sequencesOf(text, options);
    const candidates = references.map((set) => compare(own, sequencesOf(set[at] ?? "", options)));
    for (const [order, counts] of bestOf(candidates, options).entries()) {
      const { hypothesis, reference, matches } = sums[order] ?? { hypothesis: 0, reference: 0, matches: 0 };
      sums[order] = {
        hypothesis: hypothesis + counts.hypothesis,
        reference: reference + counts.reference,
        matches: matches + counts.matches,
      };
    }
  }
  return fScore(sums, options);
}

/** Sequences of one order: of the hypothesis, of the reference, and in both. */
interface OrderCounts {
  readonly hypothesis: number;
  readonly reference: number;
  readonly matches: number;
}

/** Sequences of characters of every order, then those of words. */
function sequencesOf(
  text: string,
  { charOrder = 6, wordOrder = 0, isLowercased = false, keepsSpaces = false }: ChrfOptions,
): Map<string, number>[] {
  const line = isLowercased ? text.toLowerCase() : text;
  const chars = Array.from(keepsSpaces ? line : line.replace(/\s/g, ""));
  const words = wordOrder === 0 ? [] : wordsOf(line).flatMap(separateMark);
  return [
    ...Array.from({ length: charOrder }, (_, at) => countNgrams(chars, at + 1)),
    ...Array.from({ length: wordOrder }, (_, at) => countNgrams(words, at + 1)),
  ];
}

/** One ASCII mark at a word's end, or else at its beginning, is a word of its own. */
function separateMark(word: string): string[] {
  const chars = Array.from(word);
  const isMark = (char: string | undefined) => char !== undefined && /^[!-/:-@[-`{-~]$/.test(char);
  if (chars.length === 1) return [word];
  if (isMark(chars.at(-1))) return [chars.slice(0, -1).join(""), chars.at(-1) ?? ""];
  if (isMark(chars[0])) return [chars[0] ?? "", chars.slice(1).join("")];
  return [word];
}

function compare(
  hypothesis: readonly ReadonlyMap<string, number>[],
  reference: readonly ReadonlyMap<string, number>[],
): OrderCounts[] {
  return hypothesis.map((own, order) => {
    const other = reference[order] ?? new Map<string, number>();
    // Sequences that the reference is too short for are not held against the hypothesis.
    const counted = other.size === 0 ? 0 : countAll(own);
    return { hypothesis: counted, reference: countAll(other), matches: countMatches(own, other) };
  });
}

/** The counts against the reference with the best score, the first of equals. */
function bestOf(candidates: readonly OrderCounts[][], options: ChrfOptions): OrderCounts[] {
  const scores = candidates.map((counts) => fScore(counts, options));
  return candidates[scores.indexOf(Math.max(...scores))] ?? [];
}

const epsilon = 1e-16;

function fScore(counts: readonly OrderCounts[], { beta = 2, usesEpsilon = false }: ChrfOptions): number {
  const combine = (precision: number, recall: number) => {
    const weighted = beta ** 2 * precision + recall;
    return weighted === 0 ? 0 : ((1 + beta ** 2) * precision * recall) / weighted;
  };
  if (usesEpsilon) {
    const scores = counts.map(({ hypothesis, reference, matches }) => {
      const precision = hypothesis > 0 ? matches / hypothesis : epsilon;
      const recall = reference > 0 ? matches / reference : epsilon;
      return precision + recall > 0 ? combine(precision, recall) : epsilon;
    });
    return (100 * scores.reduce((sum, score) => sum + score, 0)) / scores.length;
  }
  const counted = counts.filter(({ hypothesis, reference }) => hypothesis > 0 && reference > 0);
  if (counted.length === 0) return 0;
  const mean = (shareOf: (order: OrderCounts) => number) =>
    counted.reduce((sum, order) => sum + shareOf(order), 0) / counted.length;
  return (
    100 *
    combine(
      mean(({ matches, hypothesis }) => matches / hypothesis),
      mean(({ matches, reference }) => matches / reference),
    )
  );
}
