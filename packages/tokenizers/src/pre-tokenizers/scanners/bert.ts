import type { Scanner } from "./scanner.js";

/** What a unit is to the scanner below. */
const WORD = 0;
const SPACE = 1;
const PUNCTUATION = 2;
const IDEOGRAPH = 3;

/**
 * Cuts original text where BERT's clean-up and pre-tokenizer always cut, whatever stands around: at white space and
 * punctuation of ASCII and around ideographs. Each stretch holds whole words and can be cleaned, cut and remembered by
 * itself. One space stays with the word behind it.
 *
 * @param setsIdeographsApart  as BertNormalizer's handleChineseChars
 */
export function createBertScanner(setsIdeographsApart: boolean): Scanner {
  const kinds = new Uint8Array(0x80);
  for (let unit = 0; unit < 0x80; unit++) {
    const char = String.fromCharCode(unit);
    if (/[\t\n\r ]/.test(char)) kinds[unit] = SPACE;
    else if (/[!-/:-@[-`{-~]/.test(char)) kinds[unit] = PUNCTUATION;
  }
  const kindOf = (unit: number): number => {
    if (unit < 0x80) return kinds[unit] as number;
    const isIdeograph =
      (unit >= 0x4e00 && unit <= 0x9fff) ||
      (unit >= 0x3400 && unit <= 0x4dbf) ||
      (unit >= 0xf900 && unit <= 0xfaff);
    return isIdeograph && setsIdeographsApart ? IDEOGRAPH : WORD;
  };
  return {
    start() {},
    next(units, at, limit) {
      const kind = kindOf(units[at] as number);
      if (kind === PUNCTUATION || kind === IDEOGRAPH) return at + 1;
      let end = at + 1;
      const leadsWord = kind === SPACE && end < limit && kindOf(units[end] as number) === WORD;
      const run = leadsWord ? WORD : kind;
      while (end < limit && kindOf(units[end] as number) === run) end++;
      return end;
    },
  };
}
