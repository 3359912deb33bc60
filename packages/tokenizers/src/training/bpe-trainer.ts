import { byteOfUnit } from "../byte-level.js";
import { HeddleError } from "../error.js";
import { type AlphabetOptions, collectAlphabet, compareCodePoints } from "./alphabet.js";
import type { MergeOrder } from "./merge-queue.js";
import { PairMerging, replayMerges } from "./pair-merging.js";
import { createPacer, type TrainingControl } from "./progress.js";
import { countedState, createCheckpoints } from "./training-state.js";

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
  const checkpoints = createCheckpoints(options);
  const takeState = () => countedState(wordCounts, { merges: training.result().merges });
  await checkpoints.guard(takeState, async () => {
    while (training.step()) {
      const pause = pace(training.vocabSize, options.vocabSize) ?? checkpoints.offer(takeState);
      if (pause !== null) await pause;
    }
  });
  options.onProgress?.({ phase: "merge", done: training.vocabSize, total: training.vocabSize });
  return training.result();
}

class BpeTraining {
  private readonly tokens: string[] = [];
  private readonly ids = new Map<string, number>();
  private readonly merges: (readonly [string, string])[] = [];
  /** Length of each token in characters. */
  private readonly lengths: number[] = [];
  private readonly pairs: PairMerging;
  private readonly minFrequency: number;

  constructor(
    wordCounts: ReadonlyMap<string, number>,
    private readonly options: BpeTrainerOptions,
  ) {
    this.minFrequency = Math.max(1, options.minFrequency ?? 2);
    const spelled = this.addAlphabet(wordCounts);
    if (this.tokens.length > options.vocabSize) {
      throw new HeddleError(
        "config",
        `trainBpe: vocabSize must have room for special tokens and alphabet; got vocabSize ${options.vocabSize}, needed ${this.tokens.length}. Raise vocabSize.`,
        { vocabSize: options.vocabSize, needed: this.tokens.length },
      );
    }
    const words = replayMerges(
      spelled,
      (options.resume?.merges ?? []).map(([left, right]) => this.addMerge(left, right)),
    );
    const { maxTokenLength = Number.POSITIVE_INFINITY } = options;
    this.pairs = new PairMerging({
      words,
      counts: [...wordCounts.values()],
      order: options.ties === "bytes" ? orderByBytes(this.tokens) : orderByIds,
      mayMerge: (left, right) => {
        const length = (this.lengths[left] as number) + (this.lengths[right] as number);
        return length <= 2 ? length <= maxTokenLength : length < maxTokenLength;
      },
    });
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
    const best = this.pairs.take(this.minFrequency);
    if (best === undefined) return false;
    const { id } = this.addMerge(this.tokens[best.left] as string, this.tokens[best.right] as string);
    this.pairs.merge(best, id);
    return true;
  }

  /** Notes a merge and gives its result an id. */
  private addMerge(left: string, right: string): { left: number; right: number; id: number } {
    this.merges.push([left, right]);
    const [leftId, rightId] = [this.idOf(left), this.idOf(right)];
    const prefix = this.options.continuingSubwordPrefix ?? "";
    const joined = left + (right.startsWith(prefix) ? right.slice(prefix.length) : right);
    const length = (this.lengths[leftId] as number) + (this.lengths[rightId] as number);
    return { left: leftId, right: rightId, id: this.addToken(joined, length) };
  }

  private idOf(token: string): number {
    const id = this.ids.get(token);
    if (id !== undefined) return id;
    throw new HeddleError(
      "format",
      `trainBpe: merges of the state to go on from must be of known tokens; got ${JSON.stringify(token)}. Give the options of the training that was stopped.`,
      { token },
    );
  }

  /** Gives ids to special tokens and characters; returns the symbols of each word. */
  private addAlphabet(wordCounts: ReadonlyMap<string, number>): Int32Array[] {
    for (const token of this.options.specialTokens ?? []) this.addToken(token);
    const alphabet = collectAlphabet(wordCounts, this.options);
    for (const char of alphabet) this.addToken(char, 1);
    const known = new Set(alphabet);
    const spelled = Array.from(wordCounts.keys(), (word) => this.spell(word, known));
    const symbols = new Set<string>();
    for (const word of spelled) for (const symbol of word) symbols.add(symbol);
    for (const symbol of [...symbols].sort(compareCodePoints)) this.addToken(symbol, 1);
    return spelled.map((word) => Int32Array.from(word, (symbol) => this.ids.get(symbol) as number));
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
}

const orderByIds: MergeOrder = (a, b) => {
  if (a.count !== b.count) return a.count > b.count;
  return a.left !== b.left ? a.left < b.left : a.right < b.right;
};

function orderByBytes(tokens: readonly string[]): MergeOrder {
  return (a, b) => {
    if (a.count !== b.count) return a.count > b.count;
    const byLeft = compareBytes(tokens[a.left] as string, tokens[b.left] as string);
    return (byLeft !== 0 ? byLeft : compareBytes(tokens[a.right] as string, tokens[b.right] as string)) > 0;
  };
}

/** Compares two tokens of the byte alphabet by the bytes they stand for. */
function compareBytes(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const difference = byteOfUnit(a.charCodeAt(i)) - byteOfUnit(b.charCodeAt(i));
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}
