import { TokenBuffer } from "./token-buffer.js";

/** Longer words are not remembered: they seldom come back. */
export const MAX_CACHED_UNITS = 32;

/** The arrays have their last size from the start: pages of them that no word reaches cost nothing. */
const MAX_SLOTS = 1 << 17;
const MASK = MAX_SLOTS - 1;
const MAX_KEY_UNITS = 1 << 19;
const MAX_TOKENS = 1 << 18;
/** A word that finds this many neighbours in its way is not kept, so that no choice of words makes lookups slow. */
const MAX_PROBES = 16;

/** Bytes that one of the two generations of a cache may take. */
export const GENERATION_BYTES = MAX_SLOTS * 16 + MAX_KEY_UNITS * 2 + MAX_TOKENS * 6;

/** Units [start, end) of a text and their hash, as hashUnits gives it. */
export interface Word {
  units: Uint16Array;
  start: number;
  end: number;
  hash: number;
}

/**
 * Tokens of the words that came lately, in two generations: when the young one is full it becomes the old one, and
 * words found in the old one move back. Words that recur stay; memory never exceeds twice GENERATION_BYTES.
 */
export class WordCache {
  private young = new Generation();
  private old = new Generation();
  /** Tokens of a word that moves back. */
  private readonly aged = new TokenBuffer();

  /** Appends the tokens of a word, ranges counted from `base`; false if they are not remembered. */
  append(word: Word, out: TokenBuffer, base: number): boolean {
    const slot = this.young.find(word);
    if (slot >= 0) {
      this.young.append(slot, out, base);
      return true;
    }
    const { old } = this;
    const aged = old.find(word);
    if (aged < 0) return false;
    old.append(aged, out, base);
    this.aged.clear();
    old.append(aged, this.aged, 0);
    this.set(word, this.aged);
    return true;
  }

  /** Remembers the tokens of a word of at most MAX_CACHED_UNITS units. */
  set(word: Word, tokens: TokenBuffer): void {
    if (!this.young.hasRoom(word.end - word.start, tokens.length)) {
      const emptied = this.old;
      this.old = this.young;
      this.young = emptied;
      emptied.clear();
    }
    this.young.insert(word, tokens);
  }
}

/**
 * Open addressing over typed arrays: a slot is (hash, first unit of the key, length of the key and number of tokens,
 * first token); length 0: empty. The one token of a word that is a token is the slot's last number itself.
 */
class Generation {
  private readonly slots = new Int32Array(MAX_SLOTS * 4);
  private count = 0;
  private readonly keys = new Uint16Array(MAX_KEY_UNITS);
  private keysEnd = 0;
  private readonly ids = new Int32Array(MAX_TOKENS);
  /** start and end of each token in its word, a byte each */
  private readonly ranges = new Uint16Array(MAX_TOKENS);
  private idsEnd = 0;

  /** Returns the place of the word's slot, or -1. */
  find(word: Word): number {
    if (this.count === 0) return -1;
    const { slots, keys } = this;
    const { hash, units, start } = word;
    const length = word.end - start;
    let slot = hash & MASK;
    for (let probe = 0; probe < MAX_PROBES; probe++) {
      const at = slot * 4;
      const sizes = slots[at + 2] as number;
      if (sizes === 0) return -1;
      if (slots[at] === hash && sizes >>> 16 === length) {
        const key = slots[at + 1] as number;
        let i = 0;
        while (i < length && keys[key + i] === units[start + i]) i++;
        if (i === length) return at;
      }
      slot = (slot + 1) & MASK;
    }
    return -1;
  }

  append(at: number, out: TokenBuffer, base: number): void {
    const sizes = this.slots[at + 2] as number;
    const count = sizes & 0x7fff;
    const first = this.slots[at + 3] as number;
    if ((sizes & IS_ONE) !== 0) {
      out.push(first, base, base + (sizes >>> 16));
      return;
    }
    const from = out.length;
    out.length = from + count;
    if (!out.keepsIds) return;
    out.reserve(0);
    const { ids, ranges } = this;
    for (let i = 0; i < count; i++) out.ids[from + i] = ids[first + i] as number;
    if (!out.keepsRanges) return;
    for (let i = 0; i < count; i++) {
      const range = ranges[first + i] as number;
      out.starts[from + i] = base + (range >>> 8);
      out.ends[from + i] = base + (range & 0xff);
    }
  }

  hasRoom(keyUnits: number, numTokens: number): boolean {
    return (
      this.count * 2 < MAX_SLOTS &&
      this.keysEnd + keyUnits <= MAX_KEY_UNITS &&
      this.idsEnd + numTokens <= MAX_TOKENS
    );
  }

  clear(): void {
    this.slots.fill(0);
    this.count = 0;
    this.keysEnd = 0;
    this.idsEnd = 0;
  }

  insert(word: Word, tokens: TokenBuffer): void {
    const length = word.end - word.start;
    const isOne = tokens.length === 1 && tokens.starts[0] === 0 && tokens.ends[0] === length;
    const first = isOne ? (tokens.ids[0] as number) : this.idsEnd;
    if (!this.addKey(word, (length << 16) | (isOne ? IS_ONE | 1 : tokens.length), first) || isOne) return;
    for (let i = 0; i < tokens.length; i++) {
      this.ids[first + i] = tokens.ids[i] as number;
      this.ranges[first + i] = ((tokens.starts[i] as number) << 8) | (tokens.ends[i] as number);
    }
    this.idsEnd = first + tokens.length;
  }

  /** False if the word's neighbourhood is full. */
  private addKey(word: Word, sizes: number, first: number): boolean {
    const { slots } = this;
    let slot = word.hash & MASK;
    for (let probe = 0; slots[slot * 4 + 2] !== 0; probe++) {
      if (probe === MAX_PROBES - 1) return false;
      slot = (slot + 1) & MASK;
    }
    const { units, start, end } = word;
    const key = this.keysEnd;
    this.keysEnd = key + end - start;
    for (let i = start; i < end; i++) this.keys[key + i - start] = units[i] as number;
    slots[slot * 4] = word.hash;
    slots[slot * 4 + 1] = key;
    slots[slot * 4 + 2] = sizes;
    slots[slot * 4 + 3] = first;
    this.count++;
    return true;
  }
}

/** Mark of a word that is one token. */
const IS_ONE = 0x8000;
