import { SPACE_SYMBOL } from "../../normalizers/sentencepiece.js";
import { scriptOf } from "../../pre-tokenizers/unicode-scripts.js";
import type { SentencePieceSpec } from "./options.js";
import { BOUNDARY, UNKNOWN } from "./sentence-normalizer.js";

/** Tells whether characters may form a piece. */
export type PieceRule = (chars: readonly string[]) => boolean;

/** A script that goes with any other. */
const ANY = -1;

/**
 * Prepares the rule that pieces obey: bounded length, no unknown characters, spaces only at the allowed end, one script
 * (kana count as Han).
 *
 * @see sentencepiece/src/trainer_interface.cc, IsValidSentencePiece
 */
export function createPieceRule(spec: SentencePieceSpec): PieceRule {
  const mayHoldSpace = createSpaceRule(spec);
  return (chars) => {
    if (chars.length === 0 || chars.length > spec.maxPieceLength) return false;
    const isBlank = spec.allowWhitespaceOnlyPieces && chars.every((char) => char === SPACE_SYMBOL);
    let last = ANY;
    for (let at = 0; at < chars.length; at++) {
      const char = chars[at] as string;
      if (char === UNKNOWN || char === BOUNDARY || char === "\0" || char === " ") return false;
      if (char === SPACE_SYMBOL) {
        if (!isBlank && !mayHoldSpace(at, chars.length)) return false;
        continue;
      }
      const isDigit = DECIMAL.test(char);
      if (spec.splitDigits && isDigit && chars.length > 1) return false;
      const script = !spec.splitByNumber && isDigit ? ANY : pieceScript(char, last);
      if (spec.splitByUnicodeScript && script !== ANY && last !== ANY && script !== last) return false;
      last = script;
    }
    return true;
  };
}

const DECIMAL = /^\p{Nd}$/u;

/** A character's script; one that is inherited takes that of the character before, one without counts as common. */
function pieceScript(char: string, last: number): number {
  const { name, number } = scriptOf(char);
  if (name === "Inherited") return last;
  return number === 0 ? scriptOf(".").number : number;
}

/** Where in a piece of `length` characters a space may stand. */
function createSpaceRule(spec: SentencePieceSpec): (at: number, length: number) => boolean {
  const { splitByWhitespace, treatWhitespaceAsSuffix } = spec;
  if (treatWhitespaceAsSuffix) {
    return splitByWhitespace ? (at, length) => at === length - 1 : (at, length) => at > 0 || length === 1;
  }
  return splitByWhitespace ? (at) => at === 0 : (at, length) => at === 0 || at < length - 1;
}
