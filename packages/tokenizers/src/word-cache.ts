import type { TokenBuffer } from "./token-buffer.js";

/** Longer words are not remembered: they seldom come back. */
export const MAX_CACHED_UNITS = 32;

/**
 * The arrays have their last size from the start: pages of them that no word reaches cost nothing. Records take nine
 * units and more in most texts, so that they are full before half of the slots are.
 */
const MAX_SLOTS = 1 << 17;
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
 * words found in the old one move back. Words that recur stay; they take 1.5 MB each.
 */
export class WordCache {
  private young = new Generation();
  private old = new Generation();
  /** Record of a word that is new. */
  private readonly fresh = new Uint16Array(MAX_RECORD);

  /** Appends the tokens of a word, ranges counted from `base`; false if they are not remembered. */
  append(word: Word, out: TokenBuffer, base: number): boolean {
    const { young, old } = this;
    const at = young.find(word);
    if (at >= 0) appendRecord(young.records, at, out, base);
    else {
      const aged = old.find(word);
      if (aged < 0) return false;
      appendRecord(old.records, aged, out, base);
      this.keep(word.hash, old.records, aged);
    }
    return true;
  }

  /** Remembers the tokens of a word of at most MAX_CACHED_UNITS units. */
  set({ units, start, end, hash }: Word, { ids, starts, ends, length }: TokenBuffer): void {
    if (length > MAX_TOKENS) return;
    const { fresh } = this;
    let to = 0;
    fresh[to++] = ((end - start) << 8) | length;
    for (let at = start; at < end; at++) fresh[to++] = units[at] as number;
    for (let i = 0; i < length; i++) {
      fresh[to++] = ids[i] as number;
      fresh[to++] = (ids[i] as number) >>> 16;
      fresh[to++] = ((starts[i] as number) << 8) | (ends[i] as number);
    }
    this.keep(hash, fresh, 0);
  }

  private keep(hash: number, records: Uint16Array, at: number): void {
    if (this.young.isFull) {
      this.old = this.young;
      this.young = new Generation();
    }
    this.young.insert(hash, records, at);
  }
}

/**
 * Open addressing over records end to end. A record is the word's length and number of tokens (a byte each), its units,
 * and of each token the two halves of the id and its range in the word (start and end, a byte each). A slot is the place
 * of a record and one, with bits of the hash above it; 0: empty.
 */
class Generation {
  readonly records = new Uint16Array(MAX_RECORD_UNITS);
  private end = 0;
  private readonly slots = new Int32Array(MAX_SLOTS);

  /** Returns the place of the word's record, or -1. */
  find({ hash, units, start, end }: Word): number {
    if (this.end === 0) return -1;
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

  get isFull(): boolean {
    return this.end > MAX_RECORD_UNITS - MAX_RECORD;
  }

  /** Copies a record that another array holds, unless the neighbourhood of its slot is full. */
  insert(hash: number, from: Uint16Array, at: number): void {
    const { slots, records, end } = this;
    for (let probe = 0; probe < MAX_PROBES; probe++) {
      const slot = (hash + probe) & (MAX_SLOTS - 1);
      if (slots[slot] !== 0) continue;
      const size = recordSize(from[at] as number);
      for (let i = 0; i < size; i++) records[end + i] = from[at + i] as number;
      slots[slot] = (hash & -MAX_RECORD_UNITS) | (end + 1);
      this.end = end + size;
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
