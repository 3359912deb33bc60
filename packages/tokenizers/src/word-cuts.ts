import { byteOfUnit } from "./byte-level.js";
import type { TokenBuffer } from "./token-buffer.js";
import { codePointAt } from "./utf8-units.js";
import type { PackedTokens } from "./vocabulary.js";
import type { Word } from "./word-cache.js";

/**
 * Finds places where a word can be cut without changing its tokens: between two known characters that stand next to
 * each other in no token. No merge can ever reach across such a place, so the parts may be tokenized, and remembered,
 * one by one. In a text whose spaces are written as U+2581 these are, above all, the spaces; in Chinese most places.
 * Not every such place is found: letters are taken to join each other, and so are some pairs by their hash.
 */
export interface WordCuts {
  /** Returns the first place found behind `from`, or `limit`; `from` itself where `append` can begin. */
  next(units: Uint16Array, from: number, limit: number): number;
  readonly append?: AppendLone;
}

/**
 * Appends the tokens of the lone characters that a word begins with, which no token holds beside another one; ranges are
 * counted from `base`. Returns where they end.
 */
export type AppendLone = (word: Word, out: TokenBuffer, base: number) => number;

/** Is in a token. */
const KNOWN = 1;
/** Stands before another unit in a token. */
const BEFORE = 2;
/** Stands behind another unit in a token. */
const BEHIND = 4;
/** Is half of a surrogate pair. */
const HALF = 8;
/** Is a letter that stands inside tokens. */
const LETTER = 16;
/** Stands beside itself in a token. */
const DOUBLE = 32;

/** Units with one of these bits are no lone characters. */
export const JOINED = BEFORE | BEHIND | HALF | DOUBLE;
/** Letters of Latin, Greek and Cyrillic lie below. */
const LETTERS_END = 0x530;
/** Above the bits of a unit lies the id of the token that it is, if it is one. */
export const ID_SHIFT = 6;

/**
 * Prepares the search for tokens made of characters.
 *
 * @param packed  holds all that may come out of merging
 * @param cutsUnknown  a character that is in no token becomes its bytes, whatever stands around it: words are cut there too
 * @param createAppend  gets the bits and the id of each unit and makes `append`; null: there is none
 */
export function createWordCuts(
  packed: PackedTokens,
  cutsUnknown: boolean,
  createAppend: ((kinds: Int32Array) => AppendLone) | null = null,
): WordCuts {
  /** Bits and id of each unit. */
  const kinds = new Int32Array(0x10000).fill(HALF, 0xd800, 0xe000);
  const mark = (unit: number, bits: number): void => {
    kinds[unit] = (kinds[unit] as number) | bits;
  };
  const neighbours = new Uint8Array(PAIRS >> 3);
  const { units: all, starts, ids } = packed;
  for (let token = 0; token + 1 < starts.length; token++) {
    const start = starts[token] as number;
    const end = starts[token + 1] as number;
    const id = ids[token] as number;
    // An id without room is found the long way.
    if (end - start === 1) mark(all[start] as number, id < 1 << (31 - ID_SHIFT) ? id << ID_SHIFT : JOINED);
    for (let at = start; at < end; at++) {
      const left = all[at] as number;
      mark(left, KNOWN);
      if (at + 1 === end) continue;
      const right = all[at + 1] as number;
      if (left === right) {
        mark(left, DOUBLE);
        continue;
      }
      mark(left, BEFORE);
      mark(right, BEHIND);
      addPair(neighbours, left, right);
    }
  }
  for (let unit = 0; unit < LETTERS_END; unit++) {
    const isInside = ((kinds[unit] as number) & (BEFORE | BEHIND)) === (BEFORE | BEHIND);
    if (isInside && /\p{L}/u.test(String.fromCharCode(unit))) mark(unit, LETTER);
  }
  const append = createAppend?.(kinds);
  return {
    append,
    next(units, from, limit) {
      let left = units[from] as number;
      let before = kinds[left] as number;
      if (append && (before & JOINED) === 0 && (before !== 0 || cutsUnknown)) return from;
      for (let at = from + 1; at < limit; at++) {
        const right = units[at] as number;
        const behind = kinds[right] as number;
        // Letters are taken to join each other, and most characters of Chinese join no other one: no pair is looked up for them.
        if ((before & behind & LETTER) === 0 && ((before | behind) & HALF) === 0) {
          const isJoined =
            (before & behind & KNOWN) === 0
              ? !cutsUnknown
              : left === right
                ? (behind & DOUBLE) !== 0
                : (before & BEFORE) !== 0 && (behind & BEHIND) !== 0 && hasPair(neighbours, left, right);
          if (!isJoined) return at;
        }
        left = right;
        before = behind;
      }
      return limit;
    },
  };
}

/**
 * Prepares the search for tokens made of bytes, written in the byte alphabet. Of the characters that meet in a token the
 * last two bytes of the left one and the first three of the right one are noted; where the token holds fewer, one byte,
 * which counts for every character with such a byte there. Words are cut between characters of three and four bytes
 * only (Thai, Han, kana, Hangul, emoji), and at one place in a hundred not where they could be.
 */
export function createByteCuts(packed: PackedTokens): WordCuts {
  const notes = packed.noteMeetings?.() ?? noteMeetings(packed);
  const mayBeJoined = (before: number, behind: number): boolean => {
    if (before < MIN_CUT || behind < MIN_CUT) return true;
    const left = before & 0xfff;
    const right = behind < 0x10000 ? behind : 0x10000 | (behind >> 6);
    if (hasPair(notes, left, right)) return true;
    const last = before & 0x3f;
    const first = right >> 12;
    return (
      notes[PARTS + ((last << 5) | first)] === 1 &&
      (hasPair(notes, PART | last, right) ||
        hasPair(notes, left, PART | first) ||
        hasPair(notes, PART | last, PART | first))
    );
  };
  return {
    next(units, from, limit) {
      let left = codePointAt(units, from, limit);
      let at = from + (left > 0xffff ? 2 : 1);
      while (at < limit) {
        const right = codePointAt(units, at, limit);
        if (!mayBeJoined(left, right)) return at;
        left = right;
        at += right > 0xffff ? 2 : 1;
      }
      return limit;
    },
  };
}

/** Marks what stands for a character of which one byte is known: makes it negative. */
const PART = -64;
/** Where, behind 2^20 bits by hash, it stands by the last and first bits of two characters if a part of one is noted. */
const PARTS = 1 << 17;
/** Bytes of notes. */
export const NOTES = PARTS + (1 << 11);

/** Notes which characters meet in tokens of bytes. */
export function noteMeetings({ units: all, starts }: PackedTokens): Uint8Array {
  const notes = new Uint8Array(NOTES);
  const addToken = (start: number, end: number): void => {
    for (let at = start + 1; at < end; at++) {
      const lead = all[at] as number;
      if ((lead & 0xffe0) !== 0xe0 || (byteOfUnit(all[at - 1] as number) & 0xc0) !== 0x80) continue;
      const first = lead & 0x1f;
      const last = lowBits(all[at - 1] as number);
      const left = at - 2 < start ? PART | last : (lowBits(all[at - 2] as number) << 6) | last;
      const right =
        at + 2 < end
          ? (first << 12) | (lowBits(all[at + 1] as number) << 6) | lowBits(all[at + 2] as number)
          : PART | first;
      if ((left | right) < 0) notes[PARTS + ((last << 5) | first)] = 1;
      addPair(notes, left, right);
    }
  };
  const { length } = starts;
  for (let token = 1; token < length; token++) addToken(starts[token - 1] as number, starts[token] as number);
  return notes;
}

/** What a byte inside a character says of it. */
const lowBits = (unit: number): number => byteOfUnit(unit) & 0x3f;

/** Sets of pairs: one bit for each of so many hashes, so that one pair in some hundreds is taken for one of the set. */
const PAIRS = 1 << 20;

function addPair(pairs: Uint8Array, left: number, right: number): void {
  const hash = hashPair(left, right);
  pairs[hash >>> 3] = (pairs[hash >>> 3] as number) | (1 << (hash & 7));
}

function hasPair(pairs: Uint8Array, left: number, right: number): boolean {
  const hash = hashPair(left, right);
  return (((pairs[hash >>> 3] as number) >>> (hash & 7)) & 1) === 1;
}

const hashPair = (left: number, right: number): number =>
  Math.imul(left ^ Math.imul(right, 0x85ebca6b), 0x9e3779b1) >>> 12;

/** First character of three bytes. */
const MIN_CUT = 0x800;
