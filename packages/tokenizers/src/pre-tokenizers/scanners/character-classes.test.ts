import { describe, expect, it } from "vitest";
import {
  CharacterClasses,
  LETTER,
  LOWER,
  MARK,
  NEWLINE,
  NUMBER,
  SPACE,
  SYMBOL,
  UPPER,
} from "./character-classes.js";

const PATTERNS: readonly (readonly [RegExp, number])[] = [
  [/\p{L}/u, LETTER],
  [/\p{N}/u, NUMBER],
  [/\p{White_Space}/u, SPACE],
  [/[\r\n]/u, NEWLINE],
  [/[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]/u, UPPER],
  [/[\p{Ll}\p{Lm}\p{Lo}\p{M}]/u, LOWER],
  [/\p{M}/u, MARK],
  [/[\p{P}\p{S}]/u, SYMBOL],
];
const ALL = PATTERNS.reduce((bits, [, bit]) => bits | bit, 0);

describe("CharacterClasses", () => {
  it("gives every character the classes that the platform's patterns give it", () => {
    const classes = new CharacterClasses();
    const wrong: string[] = [];
    for (let codePoint = 0; codePoint < 0x20000; codePoint++) {
      const char = String.fromCodePoint(codePoint);
      const units = Uint16Array.from({ length: char.length }, (_, i) => char.charCodeAt(i));
      const known = classes.ofUnit[units[0] as number] as number;
      const isPlain = known !== 0 && char.length === 1;
      const found = (isPlain ? known : classes.at(units, 0, units.length)) & ALL;
      const expected = PATTERNS.reduce((bits, [pattern, bit]) => (pattern.test(char) ? bits | bit : bits), 0);
      if (found !== expected) wrong.push(`U+${codePoint.toString(16)}: ${found}, not ${expected}`);
    }
    expect(wrong).toEqual([]);
  });
});
