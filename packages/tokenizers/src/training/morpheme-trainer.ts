import { HeddleError } from "../error.js";
import type { UnigramModel } from "../models/unigram.js";
import { compareCodePoints } from "./alphabet.js";
import { createPacer, type TrainingControl } from "./progress.js";
import { countCorpusWords, type WordOptions } from "./word-counts.js";

export interface TrainMorphemesOptions extends WordOptions, TrainingControl {
  /** Count each distinct word once ("types", default) or as often as it occurs ("tokens"). */
  readonly weigh?: "types" | "tokens";
  /** Stop when a pass over the words lowers the cost by less than this share; default 0.005. */
  readonly tolerance?: number;
  /** Begins each word, is a morpheme of its own and is left out of the search, as Metaspace's U+2581; default none. */
  readonly wordMark?: string;
  /** Stands for unknown characters; default "<unk>". */
  readonly unkToken?: string;
}

/**
 * Splits words into morphemes without being told any: looks for the lexicon of parts and the analysis of the words that
 * can be described in the fewest nats together.
 *
 * cost = corpus + lexicon; corpus = N log N - sum of c log c over the counts c of morphs, N their sum;
 * lexicon = (letters + one end each) * log(letters of the alphabet + 1).
 *
 * Each word is split in two where that is cheapest, and each half again; words are visited in order of code points until
 * a pass changes little.
 *
 * @param texts  documents or lines, read once; their distinct words are kept
 * @returns a model for `createTokenizer`: unknown token, then morphs by falling log probability
 * @throws HeddleError "config" if there are no words; the signal's reason if stopped
 * @see Creutz and Lagus 2002, Unsupervised Discovery of Morphemes, arXiv:cs/0205057, section 2 (recursive MDL)
 * Differs from the paper: letters cost alike; words are not visited in random order
 */
export async function trainMorphemes(
  texts: Iterable<string> | AsyncIterable<string>,
  options: TrainMorphemesOptions = {},
): Promise<UnigramModel> {
  const { wordMark = "", weigh = "types", tolerance = 0.005, specialTokens = [] } = options;
  const counts = new Map<string, number>();
  for (const [word, count] of await countCorpusWords(texts, options)) {
    const bare = wordMark !== "" && word.startsWith(wordMark) ? word.slice(wordMark.length) : word;
    if (bare === "") continue;
    counts.set(bare, weigh === "types" ? 1 : (counts.get(bare) ?? 0) + count);
  }
  if (counts.size === 0) {
    throw new HeddleError(
      "config",
      "trainMorphemes: the corpus must hold words; got none. Check texts, normalizer and preTokenizer.",
      {},
    );
  }
  const analysis = new MorphemeAnalysis(counts);
  const pace = createPacer(options, "merge");
  const order = [...counts.keys()].sort(compareCodePoints);
  for (let before = Number.POSITIVE_INFINITY; before - analysis.cost > tolerance * analysis.cost; ) {
    before = analysis.cost;
    for (const [i, word] of order.entries()) {
      analysis.resplit(word);
      const pause = pace(i, order.length);
      if (pause !== null) await pause;
    }
  }
  const numWords = [...counts.values()].reduce((sum, count) => sum + count, 0);
  const marks = wordMark === "" ? [] : [[wordMark, numWords] as const];
  return modelOf([...marks, ...analysis.morphs()], [options.unkToken ?? "<unk>", ...specialTokens]);
}

function modelOf(morphs: readonly (readonly [string, number])[], specials: readonly string[]): UnigramModel {
  const total = morphs.reduce((sum, [, count]) => sum + count, 0);
  const scored = morphs.map(([morph, count]) => [morph, Math.log(count / total)] as const);
  scored.sort(([a, m], [b, n]) => n - m || compareCodePoints(a, b));
  const first = [...new Set(specials)].map((token) => [token, 0] as const);
  return { type: "Unigram", vocab: [...first, ...scored], unkId: 0, byteFallback: false };
}

/** A word or part of one: how often it is used, and into which parts it is split. */
interface Construction {
  count: number;
  parts: readonly [string, string] | null;
}

/** The current analysis of all words, whose cost is kept up to date. */
export class MorphemeAnalysis {
  private readonly constructions = new Map<string, Construction>();
  private readonly letterCost: number;
  /** Sum of the counts of morphs, and of c log c over them. */
  private total = 0;
  private entropy = 0;
  private lexicon = 0;

  /** Begins with every word as one morph. */
  constructor(counts: ReadonlyMap<string, number>) {
    const letters = new Set<string>();
    for (const word of counts.keys()) for (const char of word) letters.add(char);
    this.letterCost = Math.log(letters.size + 1);
    for (const [word, count] of counts) this.add(word, count);
  }

  /** In nats. */
  get cost(): number {
    return xLogX(this.total) - this.entropy + this.lexicon;
  }

  /** Morphs and how often they are used. */
  morphs(): [string, number][] {
    const whole = [...this.constructions].filter(([, { parts }]) => parts === null);
    return whole.map(([morph, { count }]) => [morph, count]);
  }

  /** The morphs of a word that was counted. */
  segment(word: string): string[] {
    const parts = this.constructions.get(word)?.parts;
    return parts === null || parts === undefined ? [word] : parts.flatMap((part) => this.segment(part));
  }

  /** Finds the cheapest way to write a word: whole, or in two parts which are looked at in turn. */
  resplit(word: string): void {
    const count = this.constructions.get(word)?.count ?? 0;
    if (count === 0) return;
    this.remove(word, count);
    this.add(word, count);
    let cheapest = this.cost;
    this.remove(word, count);
    let split: readonly [string, string] | null = null;
    for (let at = firstLength(word); at < word.length; at += firstLength(word.slice(at))) {
      const parts = [word.slice(0, at), word.slice(at)] as const;
      for (const part of parts) this.add(part, count);
      if (this.cost < cheapest) {
        cheapest = this.cost;
        split = parts;
      }
      for (const part of parts) this.remove(part, count);
    }
    if (split === null) {
      this.add(word, count);
      return;
    }
    this.constructions.set(word, { count, parts: split });
    for (const part of split) this.add(part, count);
    for (const part of split) this.resplit(part);
  }

  /** Uses a construction as it is analysed now. */
  private add(text: string, by: number): void {
    const found = this.constructions.get(text) ?? { count: 0, parts: null };
    const count = found.count + by;
    this.constructions.set(text, { count, parts: found.parts });
    if (found.parts === null) this.recount(text, found.count, count);
    else for (const part of found.parts) this.add(part, by);
  }

  private remove(text: string, by: number): void {
    const found = this.constructions.get(text);
    if (found === undefined) return;
    const count = found.count - by;
    if (count === 0) this.constructions.delete(text);
    else this.constructions.set(text, { count, parts: found.parts });
    if (found.parts === null) this.recount(text, found.count, count);
    else for (const part of found.parts) this.remove(part, by);
  }

  private recount(morph: string, before: number, after: number): void {
    this.total += after - before;
    this.entropy += xLogX(after) - xLogX(before);
    const isNew = Number(after > 0) - Number(before > 0);
    if (isNew !== 0) this.lexicon += isNew * ([...morph].length + 1) * this.letterCost;
  }
}

function xLogX(x: number): number {
  return x === 0 ? 0 : x * Math.log(x);
}

/** Length in units of the first character. */
function firstLength(text: string): number {
  return (text.codePointAt(0) ?? 0) > 0xffff ? 2 : 1;
}
