import { checkTexts } from "./check-texts.js";
import { type Edit, editPath } from "./edit-path.js";
import { separateMarks, separateSymbols, withoutEntities, wordsOf } from "./metric-tokens.js";

export interface TerOptions {
  /** Punctuation becomes words of its own. Default false. */
  readonly isNormalized?: boolean;
  /** Letters' case counts. Default false. */
  readonly isCaseSensitive?: boolean;
}

/**
 * Translation edit rate of a corpus in per cent: insertions, deletions and substitutions of words and shifts of phrases that make a
 * hypothesis its nearest reference, over the references' mean length. Less is better. As sacreBLEU and Tercom count it.
 *
 * @param references  sets of references; each set has one text for each hypothesis
 * @throws HeddleError "shape" for sets of other lengths
 * @see Snover et al. 2006, A Study of Translation Edit Rate with Targeted Human Annotation
 */
export function ter(
  hypotheses: readonly string[],
  references: readonly (readonly string[])[],
  options: TerOptions = {},
): number {
  checkTexts("ter", hypotheses, references);
  let [edits, length] = [0, 0];
  for (const [at, text] of hypotheses.entries()) {
    const own = terWords(text, options);
    const others = references.map((set) => terWords(set[at] ?? "", options));
    edits += Math.min(...others.map((words) => countEdits(own, words)));
    length += others.reduce((sum, words) => sum + words.length, 0) / others.length;
  }
  if (length === 0) return edits > 0 ? 100 : 0;
  return (100 * edits) / length;
}

function terWords(text: string, { isNormalized = false, isCaseSensitive = false }: TerOptions): string[] {
  const line = isCaseSensitive ? text.trimEnd() : text.trimEnd().toLowerCase();
  if (!isNormalized) return wordsOf(line);
  const read = withoutEntities(` ${line} `.replaceAll("\n-", "").replaceAll("\n", " "));
  const owned = separateSymbols(read).replaceAll("'s ", " 's ").replace(/'s$/, " 's");
  return wordsOf(separateMarks(owned));
}

/** Edits that make the hypothesis the reference, shifts found greedily. */
function countEdits(hypothesis: readonly string[], reference: readonly string[]): number {
  if (reference.length === 0) return hypothesis.length;
  const search = { reference, numTried: 0 };
  let words = hypothesis;
  for (let shifts = 0; ; shifts++) {
    const { cost, best } = bestShift(search, words);
    if (best === undefined || best.gain <= 0 || search.numTried >= maxTried) return shifts + cost;
    words = best.words;
  }
}

/** Limits of Tercom: phrases of so many words, moved so far, and so many trials for a sentence. */
const maxPhrase = 10;
const maxDistance = 50;
const maxTried = 1000;

/** A phrase moved to where it stands in the reference. */
interface Shift {
  readonly words: readonly string[];
  /** Edits that it saves. */
  readonly gain: number;
  readonly length: number;
  readonly start: number;
  readonly target: number;
}

/** Edits of the words as they are, and the shift that saves most; of equals the longest phrase, the earliest, the earliest target. */
function bestShift(
  search: { readonly reference: readonly string[]; numTried: number },
  words: readonly string[],
): { readonly cost: number; readonly best: Shift | undefined } {
  const { reference } = search;
  const { cost, path } = editPath(words, reference);
  const aligned = alignmentOf(path);
  let best: Shift | undefined;
  for (const { start, goal, length } of commonPhrases(words, reference)) {
    const isRight = (errors: readonly boolean[], from: number) =>
      !errors.slice(from, from + length).includes(true);
    if (isRight(aligned.hypothesisErrors, start) || isRight(aligned.referenceErrors, goal)) continue;
    const place = aligned.placeOf[goal] ?? -1;
    if (start <= place && place < start + length) continue;
    for (const target of targetsOf(aligned.placeOf, goal, length)) {
      const shifted = moved(words, { start, length, target });
      const gain = cost - editPath(shifted, reference).cost;
      const shift = { words: shifted, gain, length, start, target };
      search.numTried++;
      if (best === undefined || isBetter(shift, best)) best = shift;
    }
    if (search.numTried >= maxTried) break;
  }
  return { cost, best };
}

function isBetter(a: Shift, b: Shift): boolean {
  return (a.gain - b.gain || a.length - b.length || b.start - a.start || b.target - a.target) > 0;
}

/** Phrases of the hypothesis, at `start`, that also stand in the reference, at `goal`. */
function* commonPhrases(words: readonly string[], reference: readonly string[]) {
  for (let start = 0; start < words.length; start++) {
    for (let goal = 0; goal < reference.length; goal++) {
      if (Math.abs(goal - start) > maxDistance) continue;
      for (let length = 1; length <= maxPhrase; length++) {
        if (start + length > words.length || words[start + length - 1] !== reference[goal + length - 1])
          break;
        yield { start, goal, length };
      }
    }
  }
}

/** Places to put a phrase: behind what is aligned with the word before the goal, and with the goal's own words. */
function* targetsOf(placeOf: readonly number[], goal: number, length: number) {
  let before = -1;
  for (let at = goal - 1; at < goal + length; at++) {
    const place = at < 0 ? -1 : placeOf[at];
    if (place === undefined) return;
    if (place + 1 !== before) yield place + 1;
    before = place + 1;
  }
}

function moved(
  words: readonly string[],
  { start, length, target }: { readonly start: number; readonly length: number; readonly target: number },
): string[] {
  const end = start + length;
  const phrase = words.slice(start, end);
  if (target < start)
    return [...words.slice(0, target), ...phrase, ...words.slice(target, start), ...words.slice(end)];
  // Behind its own end, a target counts places of the whole; within, so many words further on.
  const to = target > end ? target : length + target;
  return [...words.slice(0, start), ...words.slice(end, to), ...phrase, ...words.slice(to)];
}

interface Alignment {
  /** Place in the hypothesis of each word of the reference; of a missing word, of the one before it. */
  readonly placeOf: readonly number[];
  readonly hypothesisErrors: readonly boolean[];
  readonly referenceErrors: readonly boolean[];
}

function alignmentOf(path: readonly Edit[]): Alignment {
  const placeOf: number[] = [];
  const hypothesisErrors: boolean[] = [];
  const referenceErrors: boolean[] = [];
  for (const edit of path) {
    if (edit !== "insert") hypothesisErrors.push(edit !== "keep");
    if (edit === "delete") continue;
    placeOf.push(hypothesisErrors.length - 1);
    referenceErrors.push(edit !== "keep");
  }
  return { placeOf, hypothesisErrors, referenceErrors };
}
