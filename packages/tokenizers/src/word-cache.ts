import type { TokenBuffer } from "./token-buffer.js";

/** Longer words are not remembered: they seldom come back. */
export const MAX_CACHED_UNITS = 32;

/**
 * The arrays have their last size from the start: pages of them that no word reaches cost nothing. Words fall on all
 * pages of the slots, so that there are no more of these than needed: half of them are full at most.
 */
const MAX_SLOTS = 1 << 16;
const MAX_RECORD_UNITS = 1 << 19;
/** A word that finds this many neighbours in its way is not kept, so that no choice of words makes lookups slow. */
const MAX_PROBES = 16;
/** Words of more tokens are not kept. */
const MAX_TOKENS = 255;
const MAX_RECORD = 1 + MAX_CACHED_UNITS + 3 * MAX_TOKENS;

/** Units [start, end) of a text and their hash, as hashUnits gives it. */
export interface Word {
  units: Uint16Array;
  start: number;
  end: number;
  hash: number;
}

/**
 * Tokens of the words that came lately, in two generations: when the young one is full it becomes the old one, and
 * words found in the old one move back. Words that recur stay; they take 1.25 MB each.
 */
export class WordCache {
  private young = new Generation();
  private old: Generation | null = null;

  /** Appends the tokens of a word, ranges counted from `base`; false if they are not remembered. */
  append(word: Word, out: TokenBuffer, base: number): boolean {
    let { records } = this.young;
    let at = this.young.find(word);
    if (at < 0 && this.old !== null) {
      records = this.old.records;
      at = this.old.find(word);
      if (at >= 0) {
        const size = recordSize(records[at] as number);
        const young = this.withRoom();
        young.records.set(records.subarray(at, at + size), young.end);
        young.place(word.hash, size);
      }
    }
    if (at >= 0) appendRecord(records, at, out, base);
    return at >= 0;
  }

  /** Remembers the tokens of a word of at most MAX_CACHED_UNITS units. */
  set({ units, start, end, hash }: Word, { ids, starts, ends, length }: TokenBuffer): void {
    if (length > MAX_TOKENS) return;
    const young = this.withRoom();
    const { records } = young;
    let to = young.end;
    records[to++] = ((end - start) << 8) | length;
    for (let at = start; at < end; at++) records[to++] = units[at] as number;
    for (let i = 0; i < length; i++) {
      records[to++] = ids[i] as number;
      records[to++] = (ids[i] as number) >>> 16;
      records[to++] = ((starts[i] as number) << 8) | (ends[i] as number);
    }
    young.place(hash, to - young.end);
  }

  /** The young generation, with room for one more record. */
  private withRoom(): Generation {
    const { end, count } = this.young;
    if (end > MAX_RECORD_UNITS - MAX_RECORD || count > MAX_SLOTS / 2) {
      this.old = this.young;
      this.young = new Generation();
    }
    return this.young;
  }
}

/**
 * Open addressing over records end to end. A record is the word's length and number of tokens (a byte each), its units,
 * and of each token the two halves of the id and its range in the word (start and end, a byte each). A slot is the place
 * of a record and one, with bits of the hash above it; 0: empty.
 */
class Generation {
  readonly records = new Uint16Array(MAX_RECORD_UNITS);
  /** One past the last record. */
  end = 0;
  count = 0;
  private readonly slots = new Int32Array(MAX_SLOTS);

  /** Returns the place of the word's record, or -1. */
  find({ hash, units, start, end }: Word): number {
    const { slots, records } = this;
    const length = end - start;
    for (let probe = 0; probe < MAX_PROBES; probe++) {
      const found = slots[(hash + probe) & (MAX_SLOTS - 1)] as number;
      if (found === 0) return -1;
      if (((found ^ hash) & -MAX_RECORD_UNITS) !== 0) continue;
      const at = (found & (MAX_RECORD_UNITS - 1)) - 1;
      if ((records[at] as number) >>> 8 !== length) continue;
      let i = 0;
      while (i < length && records[at + 1 + i] === units[start + i]) i++;
      if (i === length) return at;
    }
    return -1;
  }

  /** Takes the record of so many units at `end` in, unless the neighbourhood of its slot is full. */
  place(hash: number, size: number): void {
    const { slots, end } = this;
    for (let probe = 0; probe < MAX_PROBES; probe++) {
      const slot = (hash + probe) & (MAX_SLOTS - 1);
      if (slots[slot] !== 0) continue;
      slots[slot] = (hash & -MAX_RECORD_UNITS) | (end + 1);
      this.end = end + size;
      this.count++;
      return;
    }
  }
}

const recordSize = (head: number): number => 1 + (head >>> 8) + 3 * (head & 0xff);

function appendRecord(records: Uint16Array, at: number, out: TokenBuffer, base: number): void {
  const head = records[at] as number;
  const end = at + recordSize(head);
  for (let from = at + 1 + (head >>> 8); from < end; from += 3) {
    const range = records[from + 2] as number;
    const id = (records[from] as number) | ((records[from + 1] as number) << 16);
    out.push(id, base + (range >>> 8), base + (range & 0xff));
  }
}
