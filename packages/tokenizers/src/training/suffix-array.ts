/** A substring that occurs at least twice and is followed by different symbols. */
export interface RepeatedSubstring {
  /** Index of one occurrence. */
  readonly start: number;
  readonly length: number;
  /** Number of occurrences. */
  readonly count: number;
}

/**
 * Sorts the suffixes of a sequence by prefix doubling with radix sort, in O(n log n).
 *
 * @param symbols  [n] whole numbers of at least 0
 * @returns [n] starts of the suffixes in ascending order
 * @see Manber and Myers 1993, Suffix Arrays; Larsson and Sadakane 2007
 */
export function sortSuffixes(symbols: Int32Array): Int32Array<ArrayBuffer> {
  const n = symbols.length;
  let ranks = denseRanks(symbols);
  const order = radixSort(
    Int32Array.from({ length: n }, (_, i) => i),
    ranks,
  );
  let next = new Int32Array(n);
  const bySecond = new Int32Array(n);
  for (let width = 1; width < n; width *= 2) {
    let filled = 0;
    for (let i = n - width; i < n; i++) bySecond[filled++] = i;
    for (let k = 0; k < n; k++) {
      const start = (order[k] as number) - width;
      if (start >= 0) bySecond[filled++] = start;
    }
    order.set(radixSort(bySecond, ranks));
    const second = (i: number): number => (i + width < n ? (ranks[i + width] as number) : -1);
    next[order[0] as number] = 0;
    let rank = 0;
    for (let k = 1; k < n; k++) {
      const a = order[k - 1] as number;
      const b = order[k] as number;
      if (ranks[a] !== ranks[b] || second(a) !== second(b)) rank++;
      next[b] = rank;
    }
    [ranks, next] = [next, ranks];
    if (rank === n - 1) break;
  }
  return order;
}

/** Numbers the symbols 0, 1, 2 ... in their order. */
function denseRanks(symbols: Int32Array): Int32Array<ArrayBuffer> {
  const distinct = Int32Array.from(new Set(symbols)).sort();
  const rankOf = new Map(Array.from(distinct, (symbol, rank) => [symbol, rank]));
  return Int32Array.from(symbols, (symbol) => rankOf.get(symbol) as number);
}

/** Sorts indices stably by their rank (ranks are below n). */
function radixSort(indices: Int32Array, ranks: Int32Array): Int32Array<ArrayBuffer> {
  const n = indices.length;
  const ends = new Int32Array(n + 1);
  for (let i = 0; i < n; i++) {
    const bucket = (ranks[i] as number) + 1;
    ends[bucket] = (ends[bucket] as number) + 1;
  }
  for (let i = 0; i < n; i++) ends[i + 1] = (ends[i + 1] as number) + (ends[i] as number);
  const sorted = new Int32Array(n);
  for (let k = 0; k < n; k++) {
    const index = indices[k] as number;
    const rank = ranks[index] as number;
    const at = ends[rank] as number;
    sorted[at] = index;
    ends[rank] = at + 1;
  }
  return sorted;
}

/**
 * Returns for each suffix in order the length of the prefix that it shares with the one before; in O(n).
 *
 * @see Kasai et al. 2001, Linear-Time Longest-Common-Prefix Computation in Suffix Arrays
 */
export function commonPrefixes(symbols: Int32Array, order: Int32Array): Int32Array<ArrayBuffer> {
  const n = symbols.length;
  const place = new Int32Array(n);
  for (let k = 0; k < n; k++) place[order[k] as number] = k;
  const shared = new Int32Array(n);
  let length = 0;
  for (let i = 0; i < n; i++) {
    const k = place[i] as number;
    if (k === 0) {
      length = 0;
      continue;
    }
    const j = order[k - 1] as number;
    while (i + length < n && j + length < n && symbols[i + length] === symbols[j + length]) length++;
    shared[k] = length;
    if (length > 0) length--;
  }
  return shared;
}

/** Lists the inner nodes of the suffix tree: repeated substrings that no symbol behind them prolongs. */
export function* repeatedSubstrings(symbols: Int32Array): Generator<RepeatedSubstring> {
  const order = sortSuffixes(symbols);
  const shared = commonPrefixes(symbols, order);
  const stack: { length: number; from: number }[] = [];
  for (let k = 1; k <= order.length; k++) {
    const length = k < order.length ? (shared[k] as number) : 0;
    let from = k - 1;
    for (let top = stack.at(-1); top !== undefined && top.length > length; top = stack.at(-1)) {
      stack.pop();
      from = top.from;
      yield { start: order[from] as number, length: top.length, count: k - from };
    }
    if (length > 0 && stack.at(-1)?.length !== length) stack.push({ length, from });
  }
}
