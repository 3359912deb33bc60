import { checkTexts } from "./check-texts.js";
import { type BleuTokenizer, bleuWords } from "./metric-tokens.js";
import { countAll, countMatches, countNgrams } from "./ngrams.js";

export interface BleuOptions {
  /** How texts are cut into words; scores of different tokenizers cannot be compared. Default "13a". */
  readonly tokenizer?: BleuTokenizer;
  /** Letters' case does not count. Default false. */
  readonly isLowercased?: boolean;
  /**
   * What stands for an order without a match: half as much for each ("exp"), `value` matches ("floor", default value 0.1), `value`
   * more matches of every order above 1 ("add-k", default value 1), or nothing. Default "exp".
   */
  readonly smoothing?: "exp" | "floor" | "add-k" | "none";
  readonly smoothingValue?: number;
  /** Orders that a text is too short for do not count: for scores of single sentences. Default false. */
  readonly usesEffectiveOrder?: boolean;
}

export interface BleuScore {
  /** 0..100. */
  readonly score: number;
  /** N-grams of the hypotheses that match, for n = 1 to 4; with what "add-k" adds. */
  readonly counts: readonly number[];
  /** All n-grams of the hypotheses, for n = 1 to 4; with what "add-k" adds. */
  readonly totals: readonly number[];
  /** Share of the matching ones in per cent, for n = 1 to 4, smoothed. */
  readonly precisions: readonly number[];
  /** Below 1 where the hypotheses are shorter than the references. */
  readonly brevityPenalty: number;
  /** Words of the hypotheses. */
  readonly hypothesisLength: number;
  /** Words of the references, of each sentence's the one closest in length. */
  readonly referenceLength: number;
}

const maxOrder = 4;

/**
 * BLEU of a corpus: how much of the word sequences of the hypotheses is in the references, as sacreBLEU counts it.
 *
 * @param hypotheses  texts, one a sentence
 * @param references  sets of references; each set has one text for each hypothesis
 * @throws HeddleError "shape" for sets of other lengths
 * @see Papineni et al. 2002, BLEU; Post 2018, A Call for Clarity in Reporting BLEU Scores, arXiv:1804.08771; Chen and Cherry 2014
 *   (smoothing)
 */
export function bleu(
  hypotheses: readonly string[],
  references: readonly (readonly string[])[],
  options: BleuOptions = {},
): BleuScore {
  checkTexts("bleu", hypotheses, references);
  const { tokenizer = "13a", isLowercased = false } = options;
  const words = (text: string) => bleuWords((isLowercased ? text.toLowerCase() : text).trimEnd(), tokenizer);
  const counts = new Array<number>(maxOrder).fill(0);
  const totals = new Array<number>(maxOrder).fill(0);
  let [hypothesisLength, referenceLength] = [0, 0];
  for (const [at, text] of hypotheses.entries()) {
    const own = words(text);
    const others = references.map((set) => words(set[at] ?? ""));
    hypothesisLength += own.length;
    referenceLength += closestLength(own.length, others);
    for (let order = 1; order <= maxOrder; order++) {
      const ngrams = countNgrams(own, order);
      counts[order - 1] = (counts[order - 1] ?? 0) + countMatches(ngrams, greatestCounts(others, order));
      totals[order - 1] = (totals[order - 1] ?? 0) + countAll(ngrams);
    }
  }
  return scoreOf({ counts, totals, hypothesisLength, referenceLength }, options);
}

/** The length of the reference nearest to the hypothesis', the shorter one of two. */
function closestLength(length: number, references: readonly (readonly string[])[]): number {
  const lengths = references.map((words) => words.length).sort((a, b) => a - b);
  return lengths.reduce((best, each) => (Math.abs(each - length) < Math.abs(best - length) ? each : best));
}

/** How often each sequence occurs in the reference that has it most often. */
function greatestCounts(references: readonly (readonly string[])[], order: number): Map<string, number> {
  const greatest = new Map<string, number>();
  for (const words of references) {
    for (const [ngram, count] of countNgrams(words, order))
      greatest.set(ngram, Math.max(count, greatest.get(ngram) ?? 0));
  }
  return greatest;
}

function scoreOf(
  found: Pick<BleuScore, "counts" | "totals" | "hypothesisLength" | "referenceLength">,
  { smoothing = "exp", smoothingValue, usesEffectiveOrder = false }: BleuOptions,
): BleuScore {
  const { hypothesisLength, referenceLength } = found;
  const shortness = hypothesisLength === 0 ? Number.POSITIVE_INFINITY : referenceLength / hypothesisLength;
  const brevityPenalty = shortness > 1 ? Math.exp(1 - shortness) : 1;
  const precisions = new Array<number>(maxOrder).fill(0);
  if (found.counts.every((count) => count === 0)) return { ...found, score: 0, precisions, brevityPenalty };
  const added = (order: number) => (smoothing === "add-k" && order > 1 ? (smoothingValue ?? 1) : 0);
  const counts = found.counts.map((count, at) => count + added(at + 1));
  const totals = found.totals.map((total, at) => total + added(at + 1));
  const numOrders = totals.indexOf(0) < 0 ? maxOrder : totals.indexOf(0);
  let halving = 1;
  for (let at = 0; at < numOrders; at++) {
    const [count = 0, total = 1] = [counts[at], totals[at]];
    if (count === 0 && smoothing === "exp") halving *= 2;
    const floor = { exp: 1 / halving, floor: smoothingValue ?? 0.1, "add-k": 0, none: 0 }[smoothing];
    precisions[at] = (100 * (count === 0 ? floor : count)) / total;
  }
  const counted = precisions.slice(0, usesEffectiveOrder ? numOrders : maxOrder);
  const meanLog = counted.reduce((sum, precision) => sum + Math.log(precision), 0) / counted.length;
  return { ...found, counts, totals, precisions, brevityPenalty, score: brevityPenalty * Math.exp(meanLog) };
}
