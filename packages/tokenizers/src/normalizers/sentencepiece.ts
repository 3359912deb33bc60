import { type AlignedText, alignOriginal, codePointLength, originalStart } from "../aligned-text.js";
import { copyTo } from "../copy-to.js";
import { longestPrefix, type PieceTrie, trieOf } from "../piece-trie.js";
import type { CompiledNormalizer } from "./compiled.js";
import { type CharsMap, parseCharsMap } from "./precompiled.js";

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
  const run = (aligned: AlignedText) =>
    new Normalization(aligned, options, { charsMap, symbols, plainRun }).run();
  const isPlain = charsMap === null && options.userDefinedSymbols.length === 0;
  const apply = isPlain
    ? (text: string) =>
        text.includes(SPACE_SYMBOL) ? run(alignOriginal(text)).text : normalizePlain(text, options)
    : (text: string) => run(alignOriginal(text)).text;
  return { apply, align: run, inPlace: null };
}

/** The quick way where only spaces change. Twin: Normalization */
function normalizePlain(text: string, options: SentencePieceNormalizer): string {
  const { addDummyPrefix, escapeWhitespaces, removeExtraWhitespaces, treatWhitespaceAsSuffix } = options;
  const squeezed = removeExtraWhitespaces ? text.replace(/^ +| +$/g, "").replace(/ {2,}/g, " ") : text;
  if (squeezed === "") return "";
  const prefix = addDummyPrefix && !treatWhitespaceAsSuffix ? " " : "";
  const suffix = addDummyPrefix && treatWhitespaceAsSuffix ? " " : "";
  const framed = prefix + squeezed + suffix;
  return escapeWhitespaces ? framed.replaceAll(" ", SPACE_SYMBOL) : framed;
}

/** Matches a stretch in which no space and no user-defined symbol begins. */
function plainRunPattern(symbols: readonly string[]): RegExp {
  const firsts = symbols.filter((symbol) => symbol !== "").map((symbol) => symbol.charCodeAt(0));
  const source = firsts.map((unit) => `\\u${unit.toString(16).padStart(4, "0")}`).join("");
  return new RegExp(`[^ ${source}]+`, "y");
}

interface Prefix {
  readonly replacement: string;
  readonly length: number;
}

class Normalization {
  private out = "";
  private at = 0;
  /** Input position from which each output unit was made, as SentencePiece counts it. */
  private origins = new Int32Array(256);

  constructor(
    private readonly aligned: AlignedText,
    private readonly options: SentencePieceNormalizer,
    private readonly tables: {
      readonly charsMap: CharsMap | null;
      readonly symbols: PieceTrie;
      readonly plainRun: RegExp | null;
    },
  ) {}

  run(): AlignedText {
    const { text } = this.aligned;
    const { addDummyPrefix, removeExtraWhitespaces, treatWhitespaceAsSuffix } = this.options;
    if (removeExtraWhitespaces) this.skipSpaces();
    if (this.at < text.length) {
      if (addDummyPrefix && !treatWhitespaceAsSuffix) this.put(" ");
      this.copy();
      if (removeExtraWhitespaces) this.trimEnd();
      if (addDummyPrefix && treatWhitespaceAsSuffix) this.put(" ");
    }
    return this.finish();
  }

  private skipSpaces(): void {
    const { text } = this.aligned;
    while (this.at < text.length) {
      const prefix = this.prefix();
      if (prefix.replacement !== " ") return;
      this.at += prefix.length;
    }
  }

  private copy(): void {
    const { text } = this.aligned;
    const { removeExtraWhitespaces } = this.options;
    let followsSpace = removeExtraWhitespaces;
    while (this.at < text.length) {
      if (this.copyPlainRun()) followsSpace = false;
      if (this.at >= text.length) return;
      const { replacement, length } = this.prefix();
      const kept = followsSpace ? replacement.replace(/^ +/, "") : replacement;
      if (kept !== "") {
        this.put(kept);
        followsSpace = removeExtraWhitespaces && kept.endsWith(" ");
      }
      this.at += length;
    }
  }

  private copyPlainRun(): boolean {
    const { plainRun } = this.tables;
    if (plainRun === null) return false;
    const { text } = this.aligned;
    plainRun.lastIndex = this.at;
    if (!plainRun.test(text)) return false;
    const length = plainRun.lastIndex - this.at;
    this.reserve(length);
    for (let i = 0, k = this.out.length; i < length; i++, k++) this.origins[k] = this.at + i;
    this.out += text.slice(this.at, this.at + length);
    this.at += length;
    return true;
  }

  private reserve(extra: number): void {
    const needed = this.out.length + extra;
    if (needed <= this.origins.length) return;
    this.origins = copyTo(new Int32Array(Math.max(needed, this.origins.length * 2)), this.origins);
  }

  private trimEnd(): void {
    const space = this.options.escapeWhitespaces ? SPACE_SYMBOL : " ";
    let length = this.out.length;
    while (length > 0 && this.out[length - 1] === space) length--;
    if (length === this.out.length) return;
    this.at = this.origins[length] as number;
    this.out = this.out.slice(0, length);
  }

  private put(text: string): void {
    this.reserve(text.length);
    this.origins.fill(this.at, this.out.length, this.out.length + text.length);
    const mayHoldSpace = this.options.escapeWhitespaces && text.includes(" ");
    this.out += mayHoldSpace ? text.replaceAll(" ", SPACE_SYMBOL) : text;
  }

  private prefix(): Prefix {
    const { text } = this.aligned;
    const symbol = longestPrefix(this.tables.symbols, text, this.at);
    if (symbol > 0) return { replacement: text.slice(this.at, this.at + symbol), length: symbol };
    const match = this.tables.charsMap?.longest(text, this.at) ?? null;
    if (match !== null) return match;
    const length = codePointLength(text, this.at);
    return { replacement: text.slice(this.at, this.at + length), length };
  }

  /** A unit reaches from its own origin to that of the next one. */
  private finish(): AlignedText {
    const { aligned, origins } = this;
    const length = this.out.length;
    const starts = new Int32Array(length);
    const ends = new Int32Array(length);
    const original = (unit: number): number => {
      if (aligned.starts === null) return aligned.base + unit;
      return aligned.starts[unit] ?? aligned.ends?.[aligned.text.length - 1] ?? aligned.base;
    };
    for (let k = 0; k < length; k++) {
      starts[k] = original(origins[k] as number);
      ends[k] = original(k + 1 < length ? (origins[k + 1] as number) : this.at);
    }
    return {
      text: this.out,
      base: length > 0 ? (starts[0] as number) : originalStart(aligned),
      starts,
      ends,
    };
  }
}
