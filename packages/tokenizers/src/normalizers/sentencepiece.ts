import { type AlignedText, codePointLength, originalStart } from "../aligned-text.js";
import { grown } from "../grown.js";
import { longestPrefix, type PieceTrie, trieOf } from "../piece-trie.js";
import type { CompiledNormalizer, InPlaceChange } from "./compiled.js";
import type { CoverPrefix } from "./cover-prefix.js";
import { type CharsMap, type CharsMapMatch, parseCharsMap } from "./precompiled.js";

/** Stands for a space inside SentencePiece pieces (U+2581). */
export const SPACE_SYMBOL = "\u2581";

/** The normaliser inside a SentencePiece model. */
export interface SentencePieceNormalizer {
  readonly type: "SentencePiece";
  /** Empty for the identity rule. */
  readonly precompiledCharsmap: Uint8Array;
  readonly addDummyPrefix: boolean;
  readonly removeExtraWhitespaces: boolean;
  readonly escapeWhitespaces: boolean;
  readonly treatWhitespaceAsSuffix: boolean;
  /** Texts that pass through untouched. */
  readonly userDefinedSymbols: readonly string[];
}

/**
 * Prepares the normaliser of a SentencePiece model: longest-match character map, white space squeezed and written
 * as U+2581, dummy prefix (or suffix).
 *
 * @see Kudo and Richardson 2018, SentencePiece, arXiv:1808.06226; sentencepiece/src/normalizer.cc
 */
export function compileSentencePieceNormalizer(options: SentencePieceNormalizer): CompiledNormalizer {
  const charsMap = options.precompiledCharsmap.length > 0 ? parseCharsMap(options.precompiledCharsmap) : null;
  const symbols = trieOf(options.userDefinedSymbols);
  const plainRun = charsMap === null ? plainRunPattern(options.userDefinedSymbols) : null;
  const tables = { charsMap, symbols, plainRun };
  return {
    apply: (text) => normalize(text, options, tables, false).text,
    align: (aligned) => alignNormalized(aligned, normalize(aligned.text, options, tables, true)),
    inPlace: charsMap === null ? inPlaceChange(options) : null,
    coverPrefix,
  };
}

/** The change of a normaliser without a map if every unit keeps its place. */
function inPlaceChange(options: SentencePieceNormalizer): InPlaceChange | null {
  const { addDummyPrefix, escapeWhitespaces, treatWhitespaceAsSuffix, userDefinedSymbols } = options;
  const isMoved = options.removeExtraWhitespaces || (addDummyPrefix && treatWhitespaceAsSuffix);
  if (isMoved || userDefinedSymbols.some((symbol) => symbol.includes(" "))) return null;
  const space = escapeWhitespaces ? SPACE_SYMBOL : " ";
  return { prefix: addDummyPrefix ? space : "", replaced: [[0x20, space.charCodeAt(0)]] };
}

/** What was put before a text lies, without length, where that begins. */
const coverPrefix: CoverPrefix = ({ starts, length }, from, { start }) => {
  for (let i = from; i < length && (starts[i] as number) < start; i++) starts[i] = start;
};

/** Matches words in which no user-defined symbol begins, and a space between each two. */
function plainRunPattern(symbols: readonly string[]): RegExp {
  const firsts = symbols.filter((symbol) => symbol !== "").map((symbol) => symbol.charCodeAt(0));
  const source = firsts.map((unit) => `\\u${unit.toString(16).padStart(4, "0")}`).join("");
  const word = `[^ ${source}]+`;
  // Bounded, as there may be a place for each word to which the search could go back.
  return new RegExp(`${word}(?: ${word}){0,1000}`, "y");
}

interface Tables {
  readonly charsMap: CharsMap | null;
  readonly symbols: PieceTrie;
  readonly plainRun: RegExp | null;
}

/** A new text, the place in the old one that each of its units comes from, as SentencePiece counts it, and where that ends. */
interface Normalized {
  readonly text: string;
  readonly origins: Int32Array;
  readonly end: number;
}

/**
 * Makes the new text of one text: what is dropped in front, the dummy prefix, the copy, what is dropped behind.
 *
 * @param tracks  false: only the text is wanted, and origins stay empty
 */
function normalize(
  old: string,
  options: SentencePieceNormalizer,
  tables: Tables,
  tracks: boolean,
): Normalized {
  const { addDummyPrefix, escapeWhitespaces, removeExtraWhitespaces, treatWhitespaceAsSuffix } = options;
  const { charsMap, symbols, plainRun } = tables;
  const space = escapeWhitespaces ? SPACE_SYMBOL : " ";
  let origins = new Int32Array(tracks ? old.length + 2 : 0);
  let text = "";
  let at = 0;
  /** Appends what takes the place of the units from `at` on: one for each step, or all for the first. */
  const put = (added: string, step: 0 | 1): void => {
    text += added.replaceAll(" ", space);
    if (!tracks) return;
    const { length } = text;
    const from = length - added.length;
    if (length > origins.length) origins = grown(origins, length);
    for (let i = from; i < length; i++) origins[i] = at + step * (i - from);
  };
  const next = (): CharsMapMatch => {
    const symbol = longestPrefix(symbols, old, at);
    const mapped = symbol > 0 ? null : charsMap?.longest(old, at);
    const length = symbol || codePointLength(old, at);
    return mapped ?? { replacement: old.slice(at, at + length), length };
  };
  const copy = (): void => {
    let followsSpace = removeExtraWhitespaces;
    while (at < old.length) {
      if (plainRun !== null) plainRun.lastIndex = at;
      if (plainRun?.test(old)) {
        put(old.slice(at, plainRun.lastIndex), 1);
        at = plainRun.lastIndex;
        followsSpace = false;
        continue;
      }
      const { replacement, length } = next();
      const kept = followsSpace ? replacement.replace(/^ +/, "") : replacement;
      put(kept, 0);
      if (kept !== "") followsSpace = removeExtraWhitespaces && kept.endsWith(" ");
      at += length;
    }
  };
  const trimEnd = (): void => {
    let { length } = text;
    while (length > 0 && text[length - 1] === space) length--;
    if (length === text.length) return;
    at = origins[length] ?? at;
    text = text.slice(0, length);
  };
  while (removeExtraWhitespaces && at < old.length && next().replacement === " ") at += next().length;
  if (at < old.length) {
    const dummy = addDummyPrefix ? " " : "";
    if (!treatWhitespaceAsSuffix) put(dummy, 0);
    copy();
    if (removeExtraWhitespaces) trimEnd();
    if (treatWhitespaceAsSuffix) put(dummy, 0);
  }
  return { text, origins, end: at };
}

/** A unit reaches from its own origin to that of the next one. */
function alignNormalized(aligned: AlignedText, { text, origins, end }: Normalized): AlignedText {
  const { length } = text;
  const starts = new Int32Array(length);
  const ends = new Int32Array(length);
  const original = (unit: number): number => {
    if (aligned.starts === null) return aligned.base + unit;
    return aligned.starts[unit] ?? aligned.ends?.[aligned.text.length - 1] ?? aligned.base;
  };
  for (let k = 0; k < length; k++) {
    starts[k] = original(origins[k] as number);
    ends[k] = original(k + 1 < length ? (origins[k + 1] as number) : end);
  }
  return { text, base: length > 0 ? (starts[0] as number) : originalStart(aligned), starts, ends };
}
