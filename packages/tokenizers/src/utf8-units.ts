import type { TokenBuffer } from "./token-buffer.js";

/**
 * Writes units [start, end) as UTF-8 and returns the number of bytes; a lone surrogate becomes U+FFFD.
 * `bytes` holds at least three bytes for each unit. Twin: TextEncoder
 */
export function encodeUnits(units: Uint16Array, start: number, end: number, bytes: Uint8Array): number {
  let to = 0;
  for (let at = start; at < end; at++) {
    const unit = units[at] as number;
    if (unit < 0x80) {
      bytes[to++] = unit;
    } else if (unit < 0x800) {
      bytes[to++] = 0xc0 | (unit >> 6);
      bytes[to++] = 0x80 | (unit & 0x3f);
    } else if (pairLength(units, at, end) === 2) {
      const codePoint = 0x10000 + ((unit - 0xd800) << 10) + ((units[++at] as number) - 0xdc00);
      bytes[to++] = 0xf0 | (codePoint >> 18);
      bytes[to++] = 0x80 | ((codePoint >> 12) & 0x3f);
      bytes[to++] = 0x80 | ((codePoint >> 6) & 0x3f);
      bytes[to++] = 0x80 | (codePoint & 0x3f);
    } else {
      const written = (unit & 0xf800) === 0xd800 ? 0xfffd : unit;
      bytes[to++] = 0xe0 | (written >> 12);
      bytes[to++] = 0x80 | ((written >> 6) & 0x3f);
      bytes[to++] = 0x80 | (written & 0x3f);
    }
  }
  return to;
}

/** Returns 2 where a surrogate pair begins at `at`, else 1. */
export function pairLength(units: Uint16Array, at: number, limit: number): number {
  const unit = units[at] as number;
  if (unit < 0xd800 || unit > 0xdbff || at + 1 >= limit) return 1;
  const next = units[at + 1] as number;
  return next >= 0xdc00 && next <= 0xdfff ? 2 : 1;
}

/** Turns token ranges in bytes into ranges in units of [start, end); a token with part of a character covers it. */
export function bytesToUnits(units: Uint16Array, start: number, end: number, tokens: TokenBuffer): void {
  const { starts, ends, length } = tokens;
  let unit = start;
  let width = 1;
  let byteEnd = 0;
  const widen = (): void => {
    const first = units[unit] as number;
    width = pairLength(units, unit, end);
    byteEnd += first < 0x80 ? 1 : first < 0x800 ? 2 : width === 2 ? 4 : 3;
  };
  const advanceTo = (byte: number): void => {
    while (byte >= byteEnd) {
      unit += width;
      widen();
    }
  };
  if (start < end) widen();
  for (let i = 0; i < length; i++) {
    const lastByte = (ends[i] as number) - 1;
    advanceTo(starts[i] as number);
    starts[i] = unit - start;
    advanceTo(lastByte);
    ends[i] = unit + width - start;
  }
}
