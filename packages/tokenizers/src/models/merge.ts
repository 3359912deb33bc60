import { grown } from "../grown.js";
import type { TokenBuffer } from "../token-buffer.js";
import type { MergeTable } from "./merge-table.js";
import type { Sampling } from "./sampling.js";

/** Up to this many symbols a scan for the best pair beats a queue. */
const SHORT_WORD = 96;
/**
 * Room at first. It is so little that arrays grow at once: the engine takes fields for constant until they change, and
 * throws the code away that it compiled by then.
 */
const FIRST_ROOM = 4;
/** Rank of neighbours that do not merge. */
const NO_RANK = 0x7fffffff;

/**
 * Merges the symbols of a word, always the pair of lowest rank first and of equals the leftmost, until none is left.
 *
 * Short words are scanned; longer ones use a linked list and a binary heap: O(n log n) for any word.
 *
 * @see Sennrich et al. 2016, Neural Machine Translation of Rare Words with Subword Units, arXiv:1508.07909.
 * Merges may be passed over by chance: Provilkov et al. 2020, BPE-Dropout, arXiv:1910.13267, algorithm 1.
 * Twin: test/reference-bpe.ts
 */
export class Merger {
  private ids = new Int32Array(FIRST_ROOM);
  private starts = new Int32Array(FIRST_ROOM);
  private ends = new Int32Array(FIRST_ROOM);
  /** Rank of the merge of each symbol with the one behind it, and what it results in. */
  private ranks = new Int32Array(FIRST_ROOM);
  private results = new Int32Array(FIRST_ROOM);
  private previous = new Int32Array(FIRST_ROOM);
  private next = new Int32Array(FIRST_ROOM);
  private readonly heap = new MergeHeap();
  private count = 0;

  /** @param sampling  passes over possible merges by chance; null: never */
  constructor(
    private readonly table: MergeTable,
    private readonly sampling: Pick<Sampling, "dropout" | "random"> | null = null,
  ) {}

  clear(): void {
    this.count = 0;
  }

  /** Adds a symbol that covers units [start, end) of the word. */
  add(id: number, start: number, end: number): void {
    const at = this.count++;
    if (at === this.ids.length) this.grow();
    this.ids[at] = id;
    this.starts[at] = start;
    this.ends[at] = end;
  }

  /** Runs the merges and appends what is left to `out`. */
  merge(out: TokenBuffer): void {
    const { count, ids, starts, ends } = this;
    if (count > SHORT_WORD || (count > 1 && this.sampling !== null)) this.mergeByHeap();
    else if (count > 1) this.mergeByScan();
    const remaining = this.count;
    for (let i = 0; i < remaining; i++) out.push(ids[i] as number, starts[i] as number, ends[i] as number);
  }

  private mergeByScan(): void {
    const { ids, starts, ends, ranks, results } = this;
    let last = this.count - 1;
    /** Which symbols have another neighbour behind them than before. */
    let [from, to] = [0, last];
    for (;;) {
      for (let i = from; i < to; i++) this.lookUp(i, i + 1);
      let best = -1;
      let bestRank = NO_RANK;
      for (let i = 0; i < last; i++) {
        const rank = ranks[i] as number;
        if (rank < bestRank) {
          best = i;
          bestRank = rank;
        }
      }
      if (best < 0) break;
      this.join(best, best + 1);
      last--;
      for (let i = best + 1; i <= last; i++) {
        ids[i] = ids[i + 1] as number;
        starts[i] = starts[i + 1] as number;
        ends[i] = ends[i + 1] as number;
        ranks[i] = ranks[i + 1] as number;
        results[i] = results[i + 1] as number;
      }
      from = Math.max(best - 1, 0);
      to = Math.min(best + 1, last);
    }
    this.count = last + 1;
  }

  /** Finds the rank of the merge of two neighbours, or -1. */
  private lookUp(left: number, right: number): number {
    const { ids, ranks, results, table } = this;
    const rank = table.find(ids[left] as number, ids[right] as number);
    ranks[left] = rank < 0 ? NO_RANK : rank;
    results[left] = table.result;
    return rank;
  }

  /** Makes the left one of two neighbours what they merge into. */
  private join(left: number, right: number): void {
    this.ids[left] = this.results[left] as number;
    this.ends[left] = this.ends[right] as number;
  }

  private mergeByHeap(): void {
    const { ids, previous, next, ranks, heap, count, sampling } = this;
    /** Places whose merge was dropped at this step; the next step may take them again. */
    const passedOver: number[] = [];
    for (let i = 0; i < count; i++) {
      previous[i] = i - 1;
      next[i] = i + 1 < count ? i + 1 : -1;
    }
    for (let i = 0; i < count; i++) this.queuePair(i);
    while (heap.pop()) {
      const at = heap.position;
      if (ranks[at] !== heap.rank) continue;
      if (sampling !== null && sampling.random() < sampling.dropout) {
        passedOver.push(at);
        continue;
      }
      for (const place of passedOver.splice(0)) this.queuePair(place);
      const right = next[at] as number;
      this.join(at, right);
      ids[right] = -1;
      ranks[right] = NO_RANK;
      const behind = next[right] as number;
      next[at] = behind;
      if (behind >= 0) previous[behind] = at;
      this.queuePair(at);
      const before = previous[at] as number;
      if (before >= 0) this.queuePair(before);
    }
    this.compact();
  }

  private queuePair(at: number): void {
    const right = this.next[at] as number;
    this.ranks[at] = NO_RANK;
    if ((this.ids[at] as number) >= 0 && right >= 0 && this.lookUp(at, right) >= 0)
      this.heap.push(this.ranks[at] as number, at);
  }

  private compact(): void {
    const { ids, starts, ends, next } = this;
    let kept = 0;
    for (let i = 0; i >= 0; i = next[i] as number) {
      ids[kept] = ids[i] as number;
      starts[kept] = starts[i] as number;
      ends[kept++] = ends[i] as number;
    }
    this.count = kept;
  }

  private grow(): void {
    this.ids = grown(this.ids);
    this.starts = grown(this.starts);
    this.ends = grown(this.ends);
    this.ranks = grown(this.ranks);
    this.results = grown(this.results);
    this.previous = grown(this.previous);
    this.next = grown(this.next);
  }
}

const POSITION_RANGE = 2 ** 26;

/** A binary heap of (rank, position), packed into one double each: rank up to 2^27, position below 2^26. */
class MergeHeap {
  rank = 0;
  position = 0;
  private keys = new Float64Array(FIRST_ROOM);
  private size = 0;

  push(rank: number, position: number): void {
    if (this.size === this.keys.length) this.keys = grown(this.keys);
    const { keys } = this;
    const key = rank * POSITION_RANGE + position;
    let at = this.size++;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = keys[parent] as number;
      if (above <= key) break;
      keys[at] = above;
      at = parent;
    }
    keys[at] = key;
  }

  /** Takes the least entry into `rank` and `position`; false if there is none. */
  pop(): boolean {
    if (this.size === 0) return false;
    const { keys } = this;
    const top = keys[0] as number;
    const size = --this.size;
    const key = keys[size] as number;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= size) break;
      if (child + 1 < size && (keys[child + 1] as number) < (keys[child] as number)) child++;
      if ((keys[child] as number) >= key) break;
      keys[at] = keys[child] as number;
      at = child;
    }
    keys[at] = key;
    this.rank = Math.floor(top / POSITION_RANGE);
    this.position = top - this.rank * POSITION_RANGE;
    return true;
  }
}
