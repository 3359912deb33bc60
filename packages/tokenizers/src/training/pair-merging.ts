import { PairTable } from "../pair-table.js";
import { type MergeCandidate, type MergeOrder, MergeQueue } from "./merge-queue.js";

export interface PairMergingOptions {
  /** Symbols of each distinct word; merges shorten them in place. */
  readonly words: readonly Int32Array[];
  /** How often each word occurs. */
  readonly counts: readonly number[];
  readonly order: MergeOrder;
  /** Whether a pair may ever be merged; asked once for each pair. */
  readonly mayMerge: (left: number, right: number) => boolean;
}

/**
 * Counts the pairs of neighbouring symbols in words and merges them on demand. Counts are kept up to date: a merge
 * touches only the words that hold the pair. In runs of one symbol overlapping pairs count, and merge from the left.
 */
export class PairMerging {
  private readonly words: Int32Array[];
  private readonly queue: MergeQueue;
  /** Pair -> index into pairCounts. */
  private readonly pairs = new PairTable(1 << 12);
  /** Minus infinity for pairs that may not be merged. */
  private readonly pairCounts: number[] = [];

  constructor(private readonly options: PairMergingOptions) {
    this.words = [...options.words];
    this.queue = new MergeQueue(options.order);
    const updates: Updates = new Map();
    for (const [w, word] of this.words.entries()) {
      for (let i = 0; i + 1 < word.length; i++) {
        const change = { left: word[i] as number, right: word[i + 1] as number, word: w };
        this.change({ ...change, by: options.counts[w] as number }, updates);
      }
    }
    this.enqueue(updates);
  }

  /** Takes the first pair in order that occurs at least `minCount` times; undefined if there is none. */
  take(minCount: number): MergeCandidate | undefined {
    for (;;) {
      const best = this.queue.pop();
      if (best === undefined) return undefined;
      const count = this.pairCounts[this.pairs.get(best.left, best.right)] as number;
      if (best.count === count) return count < minCount ? undefined : best;
      best.count = count;
      this.queue.push(best);
    }
  }

  /** Puts symbol `id` in the place of a pair that was taken. */
  merge({ left, right, words }: MergeCandidate, id: number): void {
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
    const count = this.options.counts[w] as number;
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
        this.change({ left: before, right: id, by: count, word: w }, updates);
      }
      word[kept++] = id;
      i++;
      if (i + 1 < word.length) {
        const behind = word[i + 1] as number;
        this.change({ left: right, right: behind, by: -count, word: w }, updates);
        this.change({ left: id, right: behind, by: count, word: w }, updates);
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
      this.pairCounts.push(this.options.mayMerge(left, right) ? 0 : Number.NEGATIVE_INFINITY);
    }
    const count = (this.pairCounts[index] as number) + by;
    this.pairCounts[index] = count;
    if (by < 0 || count === Number.NEGATIVE_INFINITY) return;
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
}

/** Words in which a pair newly appeared, by the pair's index. */
type Updates = Map<number, { readonly left: number; readonly right: number; readonly words: number[] }>;

/** Makes merges in their order in every word, without counting; for going on where another training stopped. */
export function replayMerges(
  words: readonly Int32Array[],
  merges: readonly { readonly left: number; readonly right: number; readonly id: number }[],
): Int32Array[] {
  const ranks = new PairTable(merges.length);
  for (const [rank, { left, right }] of merges.entries()) ranks.set(left, right, rank);
  const ids = Int32Array.from(merges, ({ id }) => id);
  return words.map((word) => {
    let symbols = word;
    for (;;) {
      let best = merges.length;
      for (let i = 0; i + 1 < symbols.length; i++) {
        const rank = ranks.get(symbols[i] as number, symbols[i + 1] as number);
        if (rank >= 0 && rank < best) best = rank;
      }
      if (best === merges.length) return symbols;
      const { left, right } = merges[best] as { left: number; right: number };
      const merged: number[] = [];
      for (let i = 0; i < symbols.length; i++) {
        const isPair = symbols[i] === left && symbols[i + 1] === right;
        merged.push(isPair ? (ids[best] as number) : (symbols[i] as number));
        if (isPair) i++;
      }
      symbols = Int32Array.from(merged);
    }
  });
}
