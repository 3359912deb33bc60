import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type AlignedText, alignOriginal } from "../../aligned-text.js";
import { compilePattern } from "../../text-pattern.js";
import { splitByPattern } from "../split.js";
import { ALL_PATTERNS } from "./all-patterns.js";
import { knownScanner } from "./known-patterns.js";
import type { Scanner } from "./scanner.js";

function unitsOf(text: string): Uint16Array<ArrayBuffer> {
  return Uint16Array.from({ length: text.length }, (_, i) => text.charCodeAt(i));
}

function wordsOf(scanner: Scanner, text: string): string[] {
  const units = unitsOf(text);
  const words: string[] = [];
  scanner.start(text);
  for (let at = 0; at < text.length; ) {
    const end = scanner.next(units, at, text.length);
    words.push(text.slice(at, end));
    at = end;
  }
  return words;
}

function twin(pattern: RegExp, text: string): string[] {
  const pieces: AlignedText[] = [];
  splitByPattern(alignOriginal(text), { pattern, behavior: "Isolated", invert: false }, pieces);
  return pieces.map((piece) => piece.text);
}

/** Characters of every class that the patterns tell apart, contractions and all kinds of white space among them. */
const telling = [
  ..."aZéßǅʰªاあ中ー゠・゙😀𝒜𐐀𐐨٣Ⅷ½7४'’ſlLvVeErRsStTmMdD  \t\n\r\u0085\u00a0\u2028\u3000!.,/-_(+=$€~`^\u0301\u0489\u200d\ufeff\u0000\ufffd",
].concat("\ud800", "\udc00", "'s", "'LL", "'ſ", "\r\n", "   ");
const texts = fc.oneof(
  fc.array(fc.constantFrom(...telling), { maxLength: 24 }).map((parts) => parts.join("")),
  fc.string({ unit: "binary", maxLength: 20 }),
);

describe.each(ALL_PATTERNS.flatMap(({ sources }) => sources))("the scanner of %s", (source) => {
  const pattern = compilePattern({ type: "Regex", source, dialect: "rust" });
  const scanner = knownScanner({ type: "Regex", source }, ALL_PATTERNS)?.scanner as Scanner;

  it("cuts as the RegExp does", () => {
    fc.assert(
      fc.property(texts, (text) => {
        expect(wordsOf(scanner, text)).toEqual(twin(pattern, text));
      }),
      { numRuns: 1000 },
    );
  });

  it("cuts as the RegExp does around characters of all blocks of Unicode", () => {
    for (let first = 0; first < 0x110000; first += 0x1000) {
      let text = "";
      // Every character of the first blocks and of the general punctuation, then one of 61.
      const step = first < 0x3000 && first !== 0x1000 ? 1 : 61;
      for (let codePoint = first; codePoint < first + 0x1000; codePoint += step) {
        const char = String.fromCodePoint(codePoint);
        text += `${char}a ${char}A${char} '${char}`;
      }
      expect(wordsOf(scanner, text)).toEqual(twin(pattern, text));
    }
  });
});
