import { codePointAt, pairLength } from "../../utf8-units.js";

/** What the split patterns of language models ask about a character; a character has several of these bits. */
export const LETTER = 1; // \p{L}
export const NUMBER = 2; // \p{N}
export const SPACE = 4; // \p{White_Space}
export const NEWLINE = 8; // [\r\n]
export const UPPER = 16; // [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]
export const LOWER = 32; // [\p{Ll}\p{Lm}\p{Lo}\p{M}]
export const MARK = 64; // \p{M}
export const SYMBOL = 128; // [\p{P}\p{S}]
/** First unit of a surrogate pair (or a lone surrogate): ask `classAt`. */
export const SURROGATE = 256;
/** Every classified character has this bit, so that 0 means "not looked at yet". */
const KNOWN = 512;

/**
 * Which classes characters change from "no" to "yes", or back: all letters and marks are upper and lower case until
 * those of one case are found. (A pattern for UPPER itself takes some platforms milliseconds to compile.)
 */
const PATTERNS: readonly (readonly [RegExp, number])[] = [
  [/\p{L}+/gu, LETTER | UPPER | LOWER],
  [/\p{M}+/gu, MARK | UPPER | LOWER],
  [/\p{Ll}+/gu, UPPER],
  [/[\p{Lu}\p{Lt}]+/gu, LOWER],
  [/\p{N}+/gu, NUMBER],
  [/\p{White_Space}+/gu, SPACE],
  [/[\r\n]+/gu, NEWLINE],
  [/[\p{P}\p{S}]+/gu, SYMBOL],
];

/** Letters without case. All of Han (U+4E00 to U+9FA5) and Hangul (U+AC00 to U+D7A3) are, whatever the platform. */
const ONE_CASE = KNOWN | LETTER | UPPER | LOWER;

/** Code points that are classified at once. */
const BLOCK = 0x100;

/**
 * Character classes by code point, as this platform's Unicode has them.
 *
 * The table of the 65,536 units is filled block by block when a character of a block first comes (Han and Hangul at
 * once); other planes have a block each in a map. A lone surrogate has none of the classes, as for a RegExp with the
 * flag u.
 */
export class CharacterClasses {
  /** By unit; 0: not looked at yet. */
  readonly ofUnit = new Uint16Array(0x10000);
  private readonly astral = new Map<number, Uint16Array>();

  constructor() {
    this.ofUnit
      .fill(ONE_CASE, 0x4e00, 0x9fa6)
      .fill(ONE_CASE, 0xac00, 0xd7a4)
      .fill(KNOWN | SURROGATE, 0xd800, 0xe000);
    classify(0, this.ofUnit.subarray(0, BLOCK));
  }

  /** Classes of the character that begins at `at` (below `limit`), where `ofUnit` does not tell them. */
  at(units: Uint16Array, at: number, limit: number): number {
    const unit = units[at] as number;
    const known = this.ofUnit[unit] as number;
    if (known !== 0) return this.ofPair(units, at, limit);
    const first = unit & -BLOCK;
    classify(first, this.ofUnit.subarray(first, first + BLOCK));
    return this.ofUnit[unit] as number;
  }

  private ofPair(units: Uint16Array, at: number, limit: number): number {
    if (pairLength(units, at, limit) === 1) return KNOWN;
    const codePoint = codePointAt(units, at, limit);
    const first = codePoint & -BLOCK;
    let block = this.astral.get(first);
    if (block === undefined) {
      block = new Uint16Array(BLOCK);
      classify(first, block);
      this.astral.set(first, block);
    }
    return block[codePoint - first] as number;
  }
}

function classify(first: number, block: Uint16Array): void {
  const text = String.fromCodePoint(...Array.from(block, (_, i) => first + i));
  const width = first < 0x10000 ? 1 : 2;
  block.fill(KNOWN);
  for (const [pattern, bits] of PATTERNS) {
    pattern.lastIndex = 0;
    for (let run = pattern.exec(text); run !== null; run = pattern.exec(text)) {
      const end = (run.index + run[0].length) / width;
      for (let i = run.index / width; i < end; i++) block[i] = (block[i] as number) ^ bits;
    }
  }
}
