import { copyTo } from "../copy-to.js";
import { addUnit, finishHash } from "../unit-hash.js";

const [QUOTE, BACKSLASH, LETTER_U, COMMA] = [0x22, 0x5c, 0x75, 0x2c];
const [OPEN_OBJECT, CLOSE_OBJECT, OPEN_ARRAY, CLOSE_ARRAY] = [0x7b, 0x7d, 0x5b, 0x5d];
const [SPACE, TAB, LINE_FEED, RETURN] = [0x20, 0x09, 0x0a, 0x0d];

/** Four spaces, read as one number. */
const SPACES = 0x20202020;

/** What stands for a character behind a backslash. */
const ESCAPES = new Map(
  [...'"\\/bfnrt'].map((char, i) => [char.charCodeAt(0), '"\\/\b\f\n\r\t'.charCodeAt(i)]),
);

/** Reads the UTF-8 of JSON bit by bit and makes no objects; a method that finds something else says so and is lost then. */
export class JsonCursor {
  at = 0;
  /** UTF-16 units of the strings that were read since `length` was set to 0. */
  units = new Uint16Array(256);
  length = 0;
  /** Hash of the last of these strings, as hashUnits gives it. */
  hash = 0;

  private readonly words: DataView;

  constructor(readonly bytes: Uint8Array) {
    this.words = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  /** Skips white space and returns the next byte; -1 at the end. */
  peek(): number {
    const { bytes, words } = this;
    let { at } = this;
    // Most white space is the indentation of a new line.
    if (bytes[at] === LINE_FEED) at++;
    while (at + 4 <= bytes.length && words.getInt32(at) === SPACES) at += 4;
    while (at < bytes.length) {
      const byte = bytes[at] as number;
      if (byte !== SPACE && byte !== LINE_FEED && byte !== RETURN && byte !== TAB) {
        this.at = at;
        return byte;
      }
      at++;
    }
    this.at = at;
    return -1;
  }

  /** Takes a byte if it is the next one. */
  take(byte: number): boolean {
    if (this.peek() !== byte) return false;
    this.at++;
    return true;
  }

  /** Reads a string behind those that were read before; false if there is none that is well formed. */
  string(): boolean {
    if (!this.take(QUOTE)) return false;
    const { bytes } = this;
    const end = bytes.length;
    let { at, length, units } = this;
    const start = length;
    let hash = 0;
    for (; at < end; at++) {
      const byte = bytes[at] as number;
      if (byte === QUOTE) {
        this.at = at + 1;
        this.length = length;
        this.hash = finishHash(hash, length - start);
        return true;
      }
      if (length + 2 > units.length) units = this.grow();
      if (byte < SPACE) return false;
      let unit = byte;
      if (byte >= 0x80 || byte === BACKSLASH) {
        // The byte alphabet is full of characters of two bytes.
        if ((byte & 0xe0) === 0xc0 && byte > 0xc1 && ((bytes[at + 1] as number) & 0xc0) === 0x80) {
          unit = ((byte & 0x1f) << 6) | ((bytes[++at] as number) & 0x3f);
        } else {
          unit = byte === BACKSLASH ? escapedUnit(bytes, at + 1) : codePointAt(bytes, at);
          if (unit < 0) return false;
          if (byte === BACKSLASH) at += bytes[at + 1] === LETTER_U ? 5 : 1;
          else at += byte < 0xe0 ? 1 : byte < 0xf0 ? 2 : 3;
          if (unit > 0xffff) {
            const first = 0xd800 + ((unit - 0x10000) >> 10);
            units[length++] = first;
            hash = addUnit(hash, first);
            unit = 0xdc00 | (unit & 0x3ff);
          }
        }
      }
      units[length++] = unit;
      hash = addUnit(hash, unit);
    }
    return false;
  }

  /** Reads a whole number from 0 to 2^31 - 1; -1 if there is none. */
  wholeNumber(): number {
    const first = this.peek();
    const { bytes, at: start } = this;
    let value = 0;
    let { at } = this;
    for (; at < bytes.length; at++) {
      const digit = (bytes[at] as number) - 0x30;
      if (digit < 0 || digit > 9) break;
      value = value * 10 + digit;
      if (value > 0x7fffffff) return -1;
    }
    this.at = at;
    const behind = bytes[at];
    const isFraction = behind === 0x2e || behind === 0x65 || behind === 0x45;
    return at === start || isFraction || (first === 0x30 && at > start + 1) ? -1 : value;
  }

  /** Skips a value of any kind without a close look; false if it does not end. */
  skip(): boolean {
    const { bytes } = this;
    let depth = 0;
    for (this.peek(); this.at < bytes.length; this.at++) {
      const byte = bytes[this.at] as number;
      if (byte === QUOTE) {
        if (!this.skipString()) return false;
        if (depth === 0) return true;
        this.at--;
      } else if (byte === OPEN_OBJECT || byte === OPEN_ARRAY) {
        depth++;
      } else if (byte === CLOSE_OBJECT || byte === CLOSE_ARRAY) {
        if (depth === 0) return true;
        if (--depth === 0) {
          this.at++;
          return true;
        }
      } else if (byte === COMMA && depth === 0) {
        return true;
      }
    }
    return false;
  }

  private skipString(): boolean {
    const { bytes } = this;
    let end = this.at;
    do {
      end = bytes.indexOf(QUOTE, end + 1);
      if (end < 0) return false;
    } while (isEscaped(bytes, end));
    this.at = end + 1;
    return true;
  }

  private grow(): Uint16Array<ArrayBuffer> {
    this.units = copyTo(new Uint16Array(this.units.length * 2), this.units);
    return this.units;
  }
}

function isEscaped(bytes: Uint8Array, at: number): boolean {
  let start = at;
  while (bytes[start - 1] === BACKSLASH) start--;
  return (at - start) % 2 === 1;
}

/** The unit that an escape stands for, whose letter is at `at`; -1 for none. */
function escapedUnit(bytes: Uint8Array, at: number): number {
  if (bytes[at] !== LETTER_U) return ESCAPES.get(bytes[at] as number) ?? -1;
  const digits = String.fromCharCode(...bytes.subarray(at + 1, at + 5));
  return /^[0-9a-fA-F]{4}$/.test(digits) ? Number.parseInt(digits, 16) : -1;
}

/** The character at `at`, whose first byte is above 0x7f; -1 for malformed UTF-8. */
function codePointAt(bytes: Uint8Array, at: number): number {
  const first = bytes[at] as number;
  const length = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  if (first < 0xc2 || first > 0xf4) return -1;
  let codePoint = first & (0xff >> (length + 1));
  for (let i = 1; i < length; i++) {
    const byte = bytes[at + i] ?? 0;
    if ((byte & 0xc0) !== 0x80) return -1;
    codePoint = (codePoint << 6) | (byte & 0x3f);
  }
  const isOverlong = codePoint < (length === 2 ? 0x80 : length === 3 ? 0x800 : 0x10000);
  const isSurrogate = (codePoint & 0x1ff800) === 0xd800;
  return isOverlong || isSurrogate || codePoint > 0x10ffff ? -1 : codePoint;
}
