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
 * not cut between two characters of ASCII, and at one place in a hundred not where they could be.
 */
export function createByteCuts({ units: all, starts }: PackedTokens): WordCuts {
  const neighbours = new PairFilter();
  /** By (last byte of the left character, first byte of the right one): 1 where one of them may be known in part. */
  const parts = new Uint8Array(0x10000);
  // A loop over all units, tokens and characters would be thrown away and compiled anew three times.
  const addToken = (start: number, end: number): void => {
    let left = 0;
    for (let at = start; at < end; ) {
      const first = byteOfUnit(all[at] as number);
      let right = first < 0x80 ? first : first & (0x3f >> (characterLength(first) - 1));
      let next = at + 1;
      for (; next < end && isInside(byteOfUnit(all[next] as number)); next++)
        right = (right << 6) | (byteOfUnit(all[next] as number) & 0x3f);
      const isPart = first < 0 || next - at !== characterLength(first);
      if (isPart) right = partOf(first);
      if (at > start) {
        if ((left | right) >= PART) parts[((byteOfUnit(all[at - 1] as number) << 8) | first) & 0xffff] = 1;
        neighbours.add(left, right);
      }
      left = isPart ? partOf(byteOfUnit(all[next - 1] as number)) : right;
      at = next;
    }
  };
  let token = 0;
  for (let at = behindAscii(all, 0); at < all.length; at = behindAscii(all, starts[token] as number)) {
    while ((starts[token + 1] as number) <= at) token++;
    addToken(starts[token] as number, starts[++token] as number);
  }
  const mayBeJoined = (left: number, right: number): boolean => {
    if ((left | right) < 0x80 || neighbours.has(left, right)) return true;
    const last = lastByte(left);
    const first = firstByte(right);
    if (parts[(last << 8) | first] === 0) return false;
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
const partOf = (byte: number): number => PART | (byte & 0xff);

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

/** Where, from `from` on, the first unit stands that is no byte below 0x80. */
function behindAscii(units: Uint16Array, from: number): number {
  let at = from;
  while (at < units.length && (byteOfUnit(units[at] as number) & 0x80) === 0) at++;
  return at;
}

const isInside = (byte: number): boolean => (byte & 0xc0) === 0x80;

/** Length of a character by its first byte; 0: no character begins so. */
function characterLength(first: number): number {
  if (first < 0x80) return 1;
  if (first < 0xc2 || first > 0xf4) return 0;
  return first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

/** A lone surrogate is written as U+FFFD. */
function codePointAt(units: Uint16Array, at: number, limit: number): number {
  const unit = units[at] as number;
  if ((unit & 0xf800) !== 0xd800) return unit;
  const next = at + 1 < limit ? (units[at + 1] as number) : 0;
  const isPair = unit < 0xdc00 && (next & 0xfc00) === 0xdc00;
  return isPair ? 0x10000 + ((unit - 0xd800) << 10) + (next - 0xdc00) : 0xfffd;
}

function firstByte(codePoint: number): number {
  if (codePoint < 0x80) return codePoint;
  if (codePoint < 0x800) return 0xc0 | (codePoint >> 6);
  return codePoint < 0x10000 ? 0xe0 | (codePoint >> 12) : 0xf0 | (codePoint >> 18);
}

const lastByte = (codePoint: number): number => (codePoint < 0x80 ? codePoint : 0x80 | (codePoint & 0x3f));
