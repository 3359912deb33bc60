/**
 * Length of the well-formed UTF-8 character at `at`: its bytes, 0 if the bytes there can never become one,
 * -1 if the bytes end inside a character that may still be completed.
 */
export function utf8CharacterLength(bytes: ArrayLike<number>, at: number): number {
  const first = bytes[at] as number;
  if (first < 0x80) return 1;
  if (first < 0xc2 || first > 0xf4) return 0;
  const length = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  for (let i = 1; i < length; i++) {
    if (at + i >= bytes.length) return -1;
    const byte = bytes[at + i] as number;
    const low = i > 1 ? 0x80 : first === 0xe0 ? 0xa0 : first === 0xf0 ? 0x90 : 0x80;
    const high = i > 1 ? 0xbf : first === 0xed ? 0x9f : first === 0xf4 ? 0x8f : 0xbf;
    if (byte < low || byte > high) return 0;
  }
  return length;
}

/** Text of bytes that are well-formed UTF-8 from first to last; null if they are not. Twin: TextDecoder */
export function textOfRun(bytes: ArrayLike<number>): string | null {
  let text = "";
  for (let at = 0; at < bytes.length; ) {
    const length = utf8CharacterLength(bytes, at);
    if (length <= 0) return null;
    text += characterOf(bytes, at, length);
    at += length;
  }
  return text;
}

/** The same with one U+FFFD for each byte that is part of no character. */
export function looseTextOfRun(bytes: ArrayLike<number>): string {
  let text = "";
  for (let at = 0; at < bytes.length; ) {
    const length = utf8CharacterLength(bytes, at);
    text += length > 0 ? characterOf(bytes, at, length) : "\ufffd";
    at += Math.max(1, length);
  }
  return text;
}

/** The well-formed character of `length` bytes at `at`. */
function characterOf(bytes: ArrayLike<number>, at: number, length: number): string {
  const first = bytes[at] as number;
  let codePoint = length === 1 ? first : first & (0xff >> (length + 1));
  for (let i = at + 1; i < at + length; i++) codePoint = (codePoint << 6) | ((bytes[i] as number) & 0x3f);
  return String.fromCodePoint(codePoint);
}
