import { byteOfUnit } from "../byte-level.js";
import { HeddleError } from "../error.js";
import { PairTable } from "../pair-table.js";
import { type AlphabetOptions, collectAlphabet, compareCodePoints } from "./alphabet.js";
import { type MergeCandidate, type MergeOrder, MergeQueue } from "./merge-queue.js";
import { createPacer, type TrainingControl } from "./progress.js";

/** What byte-pair training makes. */
export interface TrainedBpe {
  /** (token, id): special tokens, then the alphabet in order of code points, then merged tokens. */
  readonly vocab: readonly (readonly [string, number])[];
  /** Pairs in order of rank. */
  readonly merges: readonly (readonly [string, string])[];
}

export interface BpeTrainerOptions extends AlphabetOptions, TrainingControl {
  /** Tokens in all: special tokens, alphabet and merged ones. */
  readonly vocabSize: number;
  /** A pair that occurs less often is not merged; default 2. */
  readonly minFrequency?: number;
  /** Get the first ids. */
  readonly specialTokens?: readonly string[];
  /** Put before each character inside a word (WordPiece's "##"); default none. */
  readonly continuingSubwordPrefix?: string;
  /** Put behind the last character of a word; default none. */
  readonly endOfWordSuffix?: string;
  /** Longest merged token in characters; default unlimited. */
  readonly maxTokenLength?: number;
  /**
   * Which of several equally frequent pairs comes first: the one of lower ids ("ids", the rule of Hugging Face
   * `tokenizers`; default) or the one whose tokens come later in byte order ("bytes", the rule of Stanford's CS336).
   */
  readonly ties?: "ids" | "bytes";
}

/**
 * Learns byte-pair merges from counted words: the most frequent pair of neighbours becomes a token, again and again.
 *
 * Pair counts are kept up to date at each merge; only the words that hold the pair are touched. With the default
 * options the merges are those of Hugging Face `tokenizers`' BpeTrainer, one for one.
 *
 * @throws HeddleError "config" if vocabSize has no room for special tokens and alphabet; the signal's reason if stopped
 * @see Sennrich et al. 2016, arXiv:1508.07909, algorithm 1
 */
export async function trainBpeOnWords(
  wordCounts: ReadonlyMap<string, number>,
  options: BpeTrainerOptions,
): Promise<TrainedBpe> {
  const training = new BpeTraining(wordCounts, options);
  const pace = createPacer(options, "merge");
  while (training.step()) {
    const pause = pace(training.vocabSize, options.vocabSize);
    if (pause !== null) await pause;
  }
  options.onProgress?.({ phase: "merge", done: training.vocabSize, total: training.vocabSize });
  return training.result();
}

class BpeTraining {
  private readonly tokens: string[] = [];
  private readonly ids = new Map<string, number>();
  private readonly merges: (readonly [string, string])[] = [];
  private readonly queue: MergeQueue;
  /** Symbols of each distinct word; merges shorten them in place. */
  private readonly words: Int32Array[] = [];
  private readonly counts: readonly number[];
  /** Pair -> index into pairCounts. */
  private readonly pairs = new PairTable(1 << 12);
  private readonly pairCounts: number[] = [];
  /** Length of each token in characters. */
  private readonly lengths: number[] = [];
  private readonly minFrequency: number;
  private readonly maxTokenLength: number;

  constructor(
    wordCounts: ReadonlyMap<string, number>,
    private readonly options: BpeTrainerOptions,
  ) {
    this.minFrequency = Math.max(1, options.minFrequency ?? 2);
    this.maxTokenLength = options.maxTokenLength ?? Number.POSITIVE_INFINITY;
    for (const token of options.specialTokens ?? []) this.addToken(token);
    const alphabet = collectAlphabet(wordCounts, options);
    for (const char of alphabet) this.addToken(char, 1);
    const known = new Set(alphabet);
    const spelled = Array.from(wordCounts.keys(), (word) => this.spell(word, known));
    for (const symbol of [...new Set(spelled.flat())].sort(compareCodePoints)) this.addToken(symbol, 1);
    if (this.tokens.length > options.vocabSize) {
      throw new HeddleError(
        "config",
        `trainBpe: vocabSize must have room for special tokens and alphabet; got vocabSize ${options.vocabSize}, needed ${this.tokens.length}. Raise vocabSize.`,
        { vocabSize: options.vocabSize, needed: this.tokens.length },
      );
    }
    for (const symbols of spelled)
      this.words.push(Int32Array.from(symbols, (symbol) => this.ids.get(symbol) as number));
    this.counts = [...wordCounts.values()];
    this.queue = new MergeQueue(options.ties === "bytes" ? this.orderByBytes() : orderByIds);
    this.countPairs();
  }

  get vocabSize(): number {
    return this.tokens.length;
  }

  result(): TrainedBpe {
    return { vocab: this.tokens.map((token, id) => [token, id] as const), merges: this.merges };
  }

  /** Makes the next merge; false when there is none left or the vocabulary is full. */
  step(): boolean {
    if (this.tokens.length >= this.options.vocabSize) return false;
    for (;;) {
      const best = this.queue.pop();
      if (best === undefined) return false;
      const index = this.pairs.get(best.left, best.right);
      const count = this.pairCounts[index] as number;
      if (best.count !== count) {
        best.count = count;
        this.queue.push(best);
        continue;
      }
      if (count < this.minFrequency) return false;
      const length = (this.lengths[best.left] as number) + (this.lengths[best.right] as number);
      if (length > this.maxTokenLength) continue;
      this.merge(best);
      return true;
    }
  }

  /** Cuts a word into its first symbols: known characters with prefix and suffix. */
  private spell(word: string, alphabet: ReadonlySet<string>): string[] {
    const { continuingSubwordPrefix: prefix = "", endOfWordSuffix: suffix = "" } = this.options;
    const chars = [...word];
    const symbols: string[] = [];
    for (const [i, char] of chars.entries()) {
      if (!alphabet.has(char)) continue;
      symbols.push((i > 0 ? prefix : "") + char + (i === chars.length - 1 ? suffix : ""));
    }
    return symbols;
  }

  /** @param length  in characters, prefix and suffix left out; default that of the text */
  private addToken(token: string, length = [...token].length): number {
    const known = this.ids.get(token);
    if (known !== undefined) return known;
    const id = this.tokens.length;
    this.tokens.push(token);
    this.ids.set(token, id);
    this.lengths.push(length);
    return id;
  }

  private countPairs(): void {
    const updates: Updates = new Map();
    for (let w = 0; w < this.words.length; w++) {
      const word = this.words[w] as Int32Array;
      for (let i = 0; i + 1 < word.length; i++) {
        this.change(
          { left: word[i] as number, right: word[i + 1] as number, by: this.counts[w] as number, word: w },
          updates,
        );
      }
    }
    this.enqueue(updates);
  }

  private merge({ left, right, words }: MergeCandidate): void {
    this.merges.push([this.tokens[left] as string, this.tokens[right] as string]);
    const prefix = this.options.continuingSubwordPrefix ?? "";
    const tail = this.tokens[right] as string;
    const joined =
      (this.tokens[left] as string) + (tail.startsWith(prefix) ? tail.slice(prefix.length) : tail);
    const id = this.addToken(joined, (this.lengths[left] as number) + (this.lengths[right] as number));
    const updates: Updates = new Map();
    for (const w of words) this.mergeInWord(w, { left, right, id }, updates);
    this.enqueue(updates);
  }

  /** Replaces the pair in one word and notes which pairs vanish and appear. */
  private mergeInWord(
    w: number,
    pair: { readonly left: number; readonly right: number; readonly id: number },
    updates: Updates,
  ): void {
    const { left, right, id } = pair;
    const word = this.words[w] as Int32Array;
    const count = this.counts[w] as number;
    const length = this.lengths[id] as number;
    const isShort = (neighbour: number) => (this.lengths[neighbour] as number) + length < this.maxTokenLength;
    let kept = 0;
    for (let i = 0; i < word.length; i++) {
      const isPair = word[i] === left && i + 1 < word.length && word[i + 1] === right;
      if (!isPair) {
        word[kept++] = word[i] as number;
        continue;
      }
      if (kept > 0) {
        const before = word[kept - 1] as number;
        this.change({ left: before, right: left, by: -count, word: w }, updates);
        if (isShort(before)) this.change({ left: before, right: id, by: count, word: w }, updates);
      }
      word[kept++] = id;
      i++;
      if (i + 1 < word.length) {
        const behind = word[i + 1] as number;
        this.change({ left: right, right: behind, by: -count, word: w }, updates);
        if (isShort(behind)) this.change({ left: id, right: behind, by: count, word: w }, updates);
      }
    }
    this.words[w] = word.subarray(0, kept);
  }

  private change(
    change: { readonly left: number; readonly right: number; readonly by: number; readonly word: number },
    updates: Updates,
  ): void {
    const { left, right, by, word } = change;
    let index = this.pairs.get(left, right);
    if (index < 0) {
      index = this.pairCounts.length;
      this.pairs.set(left, right, index);
      this.pairCounts.push(0);
    }
    this.pairCounts[index] = (this.pairCounts[index] as number) + by;
    if (by < 0) return;
    const update = updates.get(index);
    if (update === undefined) updates.set(index, { left, right, words: [word] });
    else if (update.words.at(-1) !== word) update.words.push(word);
  }

  private enqueue(updates: Updates): void {
    for (const [index, { left, right, words }] of updates) {
      const count = this.pairCounts[index] as number;
      if (count > 0) this.queue.push({ left, right, words, count });
    }
  }

  private orderByBytes(): MergeOrder {
    const { tokens } = this;
    return (a, b) => {
      if (a.count !== b.count) return a.count > b.count;
      const byLeft = compareBytes(tokens[a.left] as string, tokens[b.left] as string);
      return (byLeft !== 0 ? byLeft : compareBytes(tokens[a.right] as string, tokens[b.right] as string)) > 0;
    };
  }
}

/** Words in which a pair newly appeared, by the pair's index. */
type Updates = Map<number, { readonly left: number; readonly right: number; readonly words: number[] }>;

const orderByIds: MergeOrder = (a, b) => {
  if (a.count !== b.count) return a.count > b.count;
  return a.left !== b.left ? a.left < b.left : a.right < b.right;
};

/** Compares two tokens of the byte alphabet by the bytes they stand for. */
function compareBytes(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const difference = byteOfUnit(a.charCodeAt(i)) - byteOfUnit(b.charCodeAt(i));
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}
