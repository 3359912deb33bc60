import { BYTE_CHARACTERS, BYTE_UNITS } from "../byte-level.js";
import { HeddleError } from "../error.js";
import { hashUnits } from "../unit-hash.js";
import { PackedTokensBuilder, type Vocabulary } from "../vocabulary.js";

/** Values of the 64 digits by unit; -1: no digit. */
const DIGITS = new Int8Array(0x80).fill(-1);
for (const [value, digit] of [
  ..."ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
].entries()) {
  DIGITS[digit.charCodeAt(0)] = value;
}

const LINE_FEED = 0x0a;
const SPACE = 0x20;
const EQUALS = 0x3d;

/**
 * Reads a rank file.
 *
 * @returns tokens in the byte alphabet and their ranks
 * @throws HeddleError "format" naming a malformed or repeated line or a byte without a rank
 */
export function readRanks(text: string): Vocabulary {
  const vocabulary = scanRanks(text) ?? parseRanks(text);
  const missing = BYTE_CHARACTERS.findIndex((char) => vocabulary.idOf(char) === undefined);
  if (missing < 0) return vocabulary;
  throw new HeddleError(
    "format",
    `fromTiktoken: each of the 256 bytes must have a rank; got none for byte ${missing}. Check the rank file for truncation.`,
    { byte: missing },
  );
}

/**
 * Reads the lines of a rank file straight into typed arrays.
 *
 * @returns null if a line is not exactly `base64 rank`, or something stands there twice: then parseRanks says what
 * Twin: parseRanks
 */
export function scanRanks(text: string): Vocabulary | null {
  const tokens = new PackedTokensBuilder(text.length >> 3);
  const units = new Uint16Array(text.length);
  let end = 0;
  for (let at = 0; at < text.length; at++) {
    const start = at;
    const firstUnit = end;
    let bits = 0;
    let numBits = 0;
    for (; at < text.length; at++) {
      const digit = DIGITS[text.charCodeAt(at)] ?? -1;
      if (digit < 0) break;
      bits = ((bits << 6) | digit) & 0xffff;
      numBits += 6;
      if (numBits < 8) continue;
      numBits -= 8;
      units[end++] = BYTE_UNITS[(bits >> numBits) & 0xff] as number;
    }
    const numDigits = at - start;
    while (text.charCodeAt(at) === EQUALS) at++;
    const numPads = at - start - numDigits;
    const isBase64 = numPads === 0 ? numDigits % 4 !== 1 : numPads < 3 && (numDigits + numPads) % 4 === 0;
    if (!isBase64 || end === firstUnit || text.charCodeAt(at) !== SPACE) return null;
    let rank = 0;
    const first = ++at;
    for (; at < text.length; at++) {
      const digit = text.charCodeAt(at) - 0x30;
      if (digit < 0 || digit > 9) break;
      rank = rank * 10 + digit;
    }
    if (at === first || rank > 0x7fffffff || (at < text.length && text.charCodeAt(at) !== LINE_FEED))
      return null;
    tokens.add(end, rank, hashUnits(units, firstUnit, end));
  }
  return tokens.finish(units.subarray(0, end));
}

/**
 * Reads the lines of a rank file one by one: blank lines, other ends of lines and what stands behind a rank do not
 * matter.
 *
 * @throws HeddleError "format" naming a malformed or repeated line
 */
export function parseRanks(text: string): Vocabulary {
  const tokens = new PackedTokensBuilder(text.length >> 3);
  const units = new Uint16Array(text.length);
  let end = 0;
  const seen = new Set<string | number>();
  for (const [i, line] of text.split("\n").entries()) {
    if (line.trim() === "") continue;
    const refuse = (rule: string, problem: string): HeddleError =>
      new HeddleError(
        "format",
        `fromTiktoken: ${rule}; got line ${i + 1} ${JSON.stringify(line.slice(0, 60))}${problem}. Check the rank file.`,
        { line: i + 1 },
      );
    const [encoded = "", digits = ""] = line.trim().split(" ");
    const rank = Number(digits);
    const bytes = /^\d+$/.test(digits) && rank <= 0x7fffffff ? bytesOf(encoded) : null;
    if (bytes === null) throw refuse('a line must be "base64 rank"', "");
    if (seen.has(bytes) || seen.has(rank)) {
      throw refuse("a token and a rank must stand in one line only", ", which says one of them again");
    }
    const start = end;
    for (let i = 0; i < bytes.length; i++) units[end++] = BYTE_UNITS[bytes.charCodeAt(i)] as number;
    tokens.add(end, rank, hashUnits(units, start, end));
    seen.add(bytes).add(rank);
  }
  return tokens.finish(units.subarray(0, end)) as Vocabulary;
}

/** The bytes of base64 as characters below U+0100; null if it is not base64. */
function bytesOf(encoded: string): string | null {
  try {
    return atob(encoded);
  } catch {
    return null;
  }
}
