import { codePointLength, type Rewrite } from "./aligned-text.js";
import { encoder } from "./text-coders.js";

/**
 * The byte alphabet of GPT-2 as UTF-16 units: every byte as one printable character, so that byte sequences can be
 * written as text. Bytes 33-126, 161-172 and 174-255 stand for themselves, the other 68 are U+0100 and up in ascending
 * order. Bundles of models without bytes drop these tables.
 *
 * @see Radford et al. 2019, Language Models are Unsupervised Multitask Learners, section 2.2; `bytes_to_unicode`
 */
export const BYTE_UNITS: Uint16Array = /* @__PURE__ */ createByteUnits();

/** The same as characters. */
export const BYTE_CHARACTERS: readonly string[] = /* @__PURE__ */ Array.from(BYTE_UNITS, (unit) =>
  String.fromCharCode(unit),
);

function createByteUnits(): Uint16Array {
  let shifted = 256;
  return Uint16Array.from({ length: 256 }, (_, byte) =>
    (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174 ? byte : shifted++,
  );
}

/** Byte for each UTF-16 unit below 324; -1 where the unit is not in the byte alphabet. */
const BYTE_OF_UNIT = /* @__PURE__ */ createBytesOfUnits();

function createBytesOfUnits(): Int16Array {
  const bytes = new Int16Array(324).fill(-1);
  for (const [byte, unit] of BYTE_UNITS.entries()) bytes[unit] = byte;
  return bytes;
}

/** Returns the byte that a character of the byte alphabet stands for, or -1. */
export function byteOfUnit(unit: number): number {
  return unit < BYTE_OF_UNIT.length ? (BYTE_OF_UNIT[unit] as number) : -1;
}

/** Writes the UTF-8 bytes of a text in the byte alphabet; a lone surrogate becomes the three bytes of U+FFFD. */
export function toByteLevel(text: string): string {
  let isPlain = true;
  for (let i = 0; i < text.length && isPlain; i++) {
    const unit = text.charCodeAt(i);
    isPlain = unit > 32 && unit < 127;
  }
  if (isPlain) return text;
  const bytes = encoder.encode(text);
  return byteLevelText(bytes, bytes.length);
}

/** Writes the first `length` bytes in the byte alphabet. */
export function byteLevelText(bytes: Uint8Array, length: number): string {
  let result = "";
  for (let at = 0; at < length; at++) result += BYTE_CHARACTERS[bytes[at] as number];
  return result;
}

/** Reads a text of the byte alphabet back; null if it holds another character. */
export function fromByteLevel(text: string): Uint8Array | null {
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) {
    const byte = byteOfUnit(text.charCodeAt(i));
    if (byte < 0) return null;
    bytes[i] = byte;
  }
  return bytes;
}

/** Number of UTF-8 bytes of the code point at `index` (3 for a lone surrogate, which becomes U+FFFD). */
export function utf8Length(text: string, index: number): number {
  const unit = text.charCodeAt(index);
  if (unit < 0x80) return 1;
  if (unit < 0x800) return 2;
  return codePointLength(text, index) === 2 ? 4 : 3;
}

/** `toByteLevel` with the source of each byte: the character that it is part of. */
export function byteLevelRewrite(text: string): Rewrite | null {
  const bytes = toByteLevel(text);
  if (bytes === text) return null;
  const source = new Int32Array(bytes.length);
  let at = 0;
  for (let unit = 0; unit < text.length; unit += codePointLength(text, unit)) {
    const length = utf8Length(text, unit);
    source.fill(unit, at, at + length);
    at += length;
  }
  return { text: bytes, source };
}
