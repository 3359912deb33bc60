import type { Vocabulary } from "../vocabulary.js";

/** The name of the token for one byte: `<0x00>` to `<0xFF>`. */
export function byteTokenName(byte: number): string {
  return `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`;
}

/** Returns the byte that a token named `<0xAB>` stands for, or -1. */
export function byteOfToken(token: string): number {
  if (token.length !== 6 || !token.startsWith("<0x") || !token.endsWith(">")) return -1;
  const digits = token.slice(3, 5);
  return /^[0-9A-Fa-f]{2}$/.test(digits) ? Number.parseInt(digits, 16) : -1;
}

/** Ids of all 256 byte tokens, or null if one is missing: then there is no byte fallback. */
export function byteTokens(vocabulary: Vocabulary): readonly number[] | null {
  const ids: number[] = [];
  for (let byte = 0; byte < 256; byte++) {
    const id = vocabulary.idOf(byteTokenName(byte));
    if (id === undefined) return null;
    ids.push(id);
  }
  return ids;
}
