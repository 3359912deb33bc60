import { byteOfUnit } from "./byte-level.js";
import { PairTable } from "./pair-table.js";
import type { PackedTokens } from "./vocabulary.js";

/**
 * Finds places where a word can be cut without changing its tokens: between two known characters that stand next to
 * each other in no token. No merge can ever reach across such a place, so the parts may be tokenized, and remembered,
 * one by one. In a text whose spaces are written as U+2581 these are, above all, the spaces; in Chinese most places.
 */
export interface WordCuts {
  /** Returns the first such place behind `from`, or `limit`. */
  next(units: Uint16Array, from: number, limit: number): number;
}

const [KNOWN, BEFORE, BEHIND, HALF] = [1, 2, 4, 8];

/**
 * Prepares the search for tokens made of characters.
 *
 * @param packed  holds all that may come out of merging
 * @param cutsUnknown  a character that is in no token becomes its bytes, whatever stands around it: words are cut there too
 */
export function createWordCuts(packed: PackedTokens, cutsUnknown: boolean): WordCuts {
  /** Bits of each unit: is in a token, stands before or behind another one there, is half a surrogate pair. */
  const kinds = new Uint8Array(0x10000).fill(HALF, 0xd800, 0xe000);
  /** Neighbours in ASCII by (left, right), others in the table. */
  const ascii = new Uint8Array(0x80 * 0x80);
  const others = new PairTable(1 << 12);
  const { units: all, starts } = packed;
  for (let token = 0; token + 1 < starts.length; token++) {
    const end = starts[token + 1] as number;
    for (let at = starts[token] as number; at < end; at++) {
      const left = all[at] as number;
      kinds[left] = (kinds[left] as number) | KNOWN;
      if (at + 1 === end) continue;
      const right = all[at + 1] as number;
      kinds[left] = (kinds[left] as number) | BEFORE;
      kinds[right] = (kinds[right] as number) | BEHIND;
      if ((left | right) < 0x80) ascii[(left << 7) | right] = 1;
      else others.set(left, right, 1);
    }
  }
  return {
    next(units, from, limit) {
      let left = units[from] as number;
      for (let at = from + 1; at < limit; at++) {
        const right = units[at] as number;
        const before = kinds[left] as number;
        const behind = kinds[right] as number;
        // Most characters of Chinese join no other one: no pair is looked up for them.
        const isJoined =
          (before & behind & KNOWN) === 0
            ? !cutsUnknown
            : (before & BEFORE) !== 0 &&
              (behind & BEHIND) !== 0 &&
              ((left | right) < 0x80 ? ascii[(left << 7) | right] === 1 : others.get(left, right) >= 0);
        if (!isJoined && ((before | behind) & HALF) === 0) return at;
        left = right;
      }
      return limit;
    },
  };
}

/**
 * Prepares the search for tokens made of bytes, written in the byte alphabet. Of a token that begins or ends inside a
 * character only the bytes at the bound are known: they count for every character with such a byte there. Words are
 * cut between characters of three and four bytes only (Thai, Han, kana, Hangul, emoji), and at one place in a hundred
 * not where they could be.
 */
export function createByteCuts({ units: all, starts }: PackedTokens): WordCuts {
  const neighbours = new PairFilter();
  /** By the bytes that meet: 1 where one of the characters may be known in part. */
  const parts = new Uint8Array(1 << 11);
  /** Adds the character that begins at `at` and the one before it, in the token of units [start, end). */
  const addPair = (at: number, start: number, end: number): void => {
    let from = at - 1;
    while (from > start && isInside(byteOfUnit(all[from] as number))) from--;
    const left = characterOf(all, from, at);
    if (left >= 0 && left < MIN_CUT) return;
    let to = at + 1;
    while (to < end && isInside(byteOfUnit(all[to] as number))) to++;
    const right = characterOf(all, at, to);
    const last = byteOfUnit(all[at - 1] as number);
    const first = all[at] as number;
    if ((left | right) < 0) parts[meeting(last, first)] = 1;
    neighbours.add(left < 0 ? partOf(last) : left, right < 0 ? partOf(first) : right);
  };
  let token = 0;
  for (let at = nextLead(all, 0); at < all.length; at = nextLead(all, at + 1)) {
    while ((starts[token + 1] as number) <= at) token++;
    const start = starts[token] as number;
    if (at > start) addPair(at, start, starts[token + 1] as number);
  }
  const mayBeJoined = (left: number, right: number): boolean => {
    if (left < MIN_CUT || right < MIN_CUT || neighbours.has(left, right)) return true;
    const last = 0x80 | (left & 0x3f);
    const first = right < 0x10000 ? 0xe0 | (right >> 12) : 0xf0 | (right >> 18);
    if (parts[meeting(last, first)] === 0) return false;
    return (
      neighbours.has(partOf(last), right) ||
      neighbours.has(left, partOf(first)) ||
      neighbours.has(partOf(last), partOf(first))
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

/** Numbers from here on, which are no code points, stand for characters of which one byte is known. */
const PART = 0x200000;
const partOf = (byte: number): number => PART | byte;

/** Numbers the last byte of a character and the first of one of three or four bytes, whose high bits are always the same. */
const meeting = (last: number, first: number): number => ((last & 0x3f) << 5) | (first & 0x1f);

/** Says of most pairs that are not in a set that they are not: one bit for each of 2^20 hashes. */
class PairFilter {
  private readonly bits = new Uint8Array(1 << 17);

  add(left: number, right: number): void {
    const hash = hashPair(left, right);
    this.bits[hash >>> 3] = (this.bits[hash >>> 3] as number) | (1 << (hash & 7));
  }

  has(left: number, right: number): boolean {
    const hash = hashPair(left, right);
    return (((this.bits[hash >>> 3] as number) >>> (hash & 7)) & 1) === 1;
  }
}

const hashPair = (left: number, right: number): number =>
  Math.imul(left ^ Math.imul(right, 0x85ebca6b), 0x9e3779b1) >>> 12;

/** First character of three bytes. */
const MIN_CUT = 0x800;

/** Where, from `from` on, a character of three or four bytes begins; the byte alphabet writes these bytes as they are. */
function nextLead(units: Uint16Array, from: number): number {
  let at = from;
  while (at < units.length && ((units[at] as number) & 0xffe0) !== 0xe0) at++;
  return at;
}

const isInside = (byte: number): boolean => (byte & 0xc0) === 0x80;

/** The character whose bytes are units [from, to) or, of one of two bytes at most, a number below MIN_CUT; -1: a part. */
function characterOf(units: Uint16Array, from: number, to: number): number {
  const first = byteOfUnit(units[from] as number);
  const length = first < 0x80 ? 1 : first < 0xc0 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  if (to - from !== length) return -1;
  let character = first & (0x3f >> (length - 1));
  for (let at = from + 1; at < to; at++)
    character = (character << 6) | (byteOfUnit(units[at] as number) & 0x3f);
  return character;
}

/** A lone surrogate is written as U+FFFD. */
function codePointAt(units: Uint16Array, at: number, limit: number): number {
  const unit = units[at] as number;
  if ((unit & 0xf800) !== 0xd800) return unit;
  const next = at + 1 < limit ? (units[at + 1] as number) : 0;
  const isPair = unit < 0xdc00 && (next & 0xfc00) === 0xdc00;
  return isPair ? 0x10000 + ((unit - 0xd800) << 10) + (next - 0xdc00) : 0xfffd;
}
