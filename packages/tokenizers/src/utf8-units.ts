import type { TokenBuffer } from "./token-buffer.js";

/**
 * Writes units [start, end) as UTF-8 and returns the number of bytes; a lone surrogate becomes U+FFFD.
 * `bytes` holds at least three bytes for each unit. Twin: TextEncoder
 */
export function encodeUnits(units: Uint16Array, start: number, end: number, bytes: Uint8Array): number {
  let to = 0;
  for (let at = start; at < end; at++) {
    const codePoint = codePointAt(units, at, end);
    if (codePoint < 0x80) {
      bytes[to++] = codePoint;
      continue;
    }
    if (codePoint < 0x800) {
      bytes[to++] = 0xc0 | (codePoint >> 6);
    } else {
      if (codePoint < 0x10000) {
        bytes[to++] = 0xe0 | (codePoint >> 12);
      } else {
        at++;
        bytes[to++] = 0xf0 | (codePoint >> 18);
        bytes[to++] = 0x80 | ((codePoint >> 12) & 0x3f);
      }
      bytes[to++] = 0x80 | ((codePoint >> 6) & 0x3f);
    }
    bytes[to++] = 0x80 | (codePoint & 0x3f);
  }
  return to;
}

/** Returns 2 where a surrogate pair begins at `at`, else 1. */
export function pairLength(units: Uint16Array, at: number, limit: number): number {
  // One comparison for all units: a second one would be new to compiled code at the first full-width comma.
  const isPair =
    ((units[at] as number) & 0xfc00) === 0xd800 &&
    at + 1 < limit &&
    ((units[at + 1] as number) & 0xfc00) === 0xdc00;
  return isPair ? 2 : 1;
}

/** Returns the code point that begins at `at`; U+FFFD for a lone surrogate, which is written as that. */
export function codePointAt(units: Uint16Array, at: number, limit: number): number {
  const unit = units[at] as number;
  if ((unit & 0xf800) !== 0xd800) return unit;
  if (pairLength(units, at, limit) === 1) return 0xfffd;
  return 0x10000 + ((unit - 0xd800) << 10) + ((units[at + 1] as number) - 0xdc00);
}

/** Turns token ranges in bytes of UTF-8 into ranges in units; a token with part of a character covers it. */
export function bytesToUnits(bytes: Uint8Array, { starts, ends, length }: TokenBuffer): void {
  /** Where the character of the last byte that was read begins and ends. */
  let unit = 0;
  let behind = 0;
  let byte = 0;
  for (let bound = 0; bound < 2 * length; bound++) {
    const isEnd = (bound & 1) === 1;
    const bounds = isEnd ? ends : starts;
    const limit = (bounds[bound >> 1] as number) + (isEnd ? 0 : 1);
    for (; byte < limit; byte++) {
      if (((bytes[byte] as number) & 0xc0) === 0x80) continue;
      unit = behind;
      behind += (bytes[byte] as number) < 0xf0 ? 1 : 2;
    }
    bounds[bound >> 1] = isEnd ? behind : unit;
  }
}
