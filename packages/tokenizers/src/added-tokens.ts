import { type AlignedText, sliceAligned } from "./aligned-text.js";
import type { CompiledNormalizer } from "./normalizers/compiled.js";
import { longestPrefix, type PieceTrie, trieOf } from "./piece-trie.js";

/** A token that is found in the text before anything else is done with it. */
export interface AddedToken {
  readonly id: number;
  readonly content: string;
  /** Only where no word character touches it. */
  readonly singleWord: boolean;
  /** Takes the white space before it along. */
  readonly lstrip: boolean;
  /** Takes the white space behind it along. */
  readonly rstrip: boolean;
  /** Looked for in the normalised text instead of the original. */
  readonly normalized: boolean;
  /** Left out by `decode(ids, { skipSpecialTokens: true })`. */
  readonly special: boolean;
  /** False: the text is not searched for it; it only has its special standing. Default true. */
  readonly isSearched?: boolean;
}

/** A stretch of text, or an added token that was found there. */
export interface Segment {
  readonly text: AlignedText;
  readonly token: AddedToken | null;
}

/** Finds added tokens in texts. */
export interface AddedTokenFinder {
  /**
   * Cuts a text at added tokens and normalises what lies between.
   *
   * @param options.parseSpecial  false: special tokens are ordinary text
   * @param options.track  keep alignments; without them only `text` of each segment is meaningful
   */
  split(text: string, options: { readonly parseSpecial: boolean; readonly track: boolean }): Segment[];
  /** Calls `visit` for the same stretches if all tokens are looked for in the original text; null if some are not. */
  readonly scan: ((text: string, parseSpecial: boolean, visit: VisitStretch) => void) | null;
}

/** Gets units [start, end) of a text: a token, or (null) what lies between tokens. */
export type VisitStretch = (start: number, end: number, token: AddedToken | null) => void;

/** Prepares the search: leftmost match first, of those the longest. */
export function createAddedTokenFinder(
  tokens: readonly AddedToken[],
  normalizer: CompiledNormalizer | null,
): AddedTokenFinder {
  const found = tokens.filter(({ isSearched = true }) => isSearched);
  const raw = new TokenMatcher(
    found.filter((token) => !token.normalized).map((token) => [token.content, token]),
  );
  const normalized = new TokenMatcher(
    found
      .filter((token) => token.normalized)
      .map((token) => [normalizer?.apply(token.content) ?? token.content, token]),
  );
  return {
    scan:
      normalized.tokens.size === 0
        ? (text, parseSpecial, visit) => raw.scan(text, parseSpecial, visit)
        : null,
    split(text, { parseSpecial, track }) {
      if (text === "") return [];
      const original: AlignedText = { text, base: 0, starts: null, ends: null };
      const segments: Segment[] = [];
      for (const segment of raw.split(original, parseSpecial)) {
        if (segment.token !== null) segments.push(segment);
        else segments.push(...normalized.split(normalize(segment.text, normalizer, track), parseSpecial));
      }
      return segments;
    },
  };
}

function normalize(aligned: AlignedText, normalizer: CompiledNormalizer | null, track: boolean): AlignedText {
  if (normalizer === null) return aligned;
  return track ? normalizer.align(aligned) : { ...aligned, text: normalizer.apply(aligned.text) };
}

class TokenMatcher {
  /** Made when the first token may be there. */
  private trie: PieceTrie | undefined = undefined;
  /** Finds the places where a token may begin: units that a token begins with. */
  private readonly firstUnits: RegExp | null;
  /** The unit if it is one only, which the platform finds faster than a pattern. */
  private readonly onlyUnit: string | null;
  /** By what is looked for; of equal ones the last counts. */
  readonly tokens: ReadonlyMap<string, AddedToken>;

  constructor(patterns: readonly (readonly [content: string, token: AddedToken])[]) {
    this.tokens = new Map(patterns.filter(([content]) => content !== ""));
    const units = [...new Set(Array.from(this.tokens.keys(), (content) => content.charCodeAt(0)))];
    const source = units.map((unit) => `\\u${unit.toString(16).padStart(4, "0")}`).join("");
    this.onlyUnit = units.length === 1 ? String.fromCharCode(units[0] as number) : null;
    this.firstUnits = units.length === 0 ? null : new RegExp(`[${source}]`, "g");
  }

  split(aligned: AlignedText, parseSpecial: boolean): Segment[] {
    const segments: Segment[] = [];
    this.scan(aligned.text, parseSpecial, (start, end, token) => {
      segments.push({ text: sliceAligned(aligned, start, end), token });
    });
    return segments;
  }

  scan(text: string, parseSpecial: boolean, visit: VisitStretch): void {
    let end = 0;
    for (let at = 0; at < text.length; ) {
      const first = this.nextFirst(text, at);
      if (first < 0) break;
      this.trie ??= trieOf(this.tokens.keys());
      at = first + (longestPrefix(this.trie, text, first) || 1);
      const token = this.tokens.get(text.slice(first, at));
      if (token === undefined || (token.special && !parseSpecial)) continue;
      if (token.singleWord && touchesWord(text, first, at)) continue;
      const start = token.lstrip ? Math.max(end, spaceStart(text, first)) : first;
      const stop = token.rstrip ? spaceEnd(text, at) : at;
      if (end < start) visit(end, start, null);
      visit(start, stop, token);
      end = stop;
    }
    if (end < text.length) visit(end, text.length, null);
  }

  /** Where the next token may begin, or -1. */
  private nextFirst(text: string, from: number): number {
    const { firstUnits, onlyUnit } = this;
    if (onlyUnit !== null) return text.indexOf(onlyUnit, from);
    if (firstUnits === null) return -1;
    firstUnits.lastIndex = from;
    return firstUnits.test(text) ? firstUnits.lastIndex - 1 : -1;
  }
}

/** Word characters by the Unicode rule of Rust's `\w`. */
const WORD = /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\u200c\u200d]/u;
const SPACE = /\p{White_Space}/u;

function touchesWord(text: string, start: number, end: number): boolean {
  const before = start > 0 ? [...text.slice(Math.max(0, start - 2), start)].at(-1) : undefined;
  const behind = end < text.length ? String.fromCodePoint(text.codePointAt(end) as number) : undefined;
  return (before !== undefined && WORD.test(before)) || (behind !== undefined && WORD.test(behind));
}

function spaceStart(text: string, start: number): number {
  let at = start;
  while (at > 0 && SPACE.test(text[at - 1] as string)) at--;
  return at;
}

function spaceEnd(text: string, end: number): number {
  let at = end;
  while (at < text.length && SPACE.test(text[at] as string)) at++;
  return at;
}
