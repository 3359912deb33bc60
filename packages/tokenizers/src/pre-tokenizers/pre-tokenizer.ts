import { type AlignedText, applyRewrite, codePointLength, sliceAligned } from "../aligned-text.js";
import { byteLevelRewrite } from "../byte-level.js";
import { type ByteWords, createByteWords } from "../byte-words.js";
import { compilePattern, type TextPattern } from "../text-pattern.js";
import { type Metaspace, markSpaces, withPrefix } from "./metaspace.js";
import { compileScanner } from "./scanners/compile-scanner.js";
import { GPT2_PATTERN } from "./scanners/known-patterns.js";
import type { Scanner } from "./scanners/scanner.js";
import type { SplitBehavior } from "./split.js";
import { bertSteps, byRegExp, chain, PUNCTUATION, type Step } from "./steps.js";
import { splitByScript } from "./unicode-scripts.js";

/** Cuts normalised text into words; the names and fields are those of tokenizer.json in camel case. */
export type PreTokenizer =
  | { readonly type: "Sequence"; readonly pretokenizers: readonly PreTokenizer[] }
  | { readonly type: "Whitespace" | "WhitespaceSplit" | "BertPreTokenizer" | "UnicodeScripts" }
  | { readonly type: "Punctuation"; readonly behavior: SplitBehavior }
  | { readonly type: "Digits"; readonly individualDigits: boolean }
  | { readonly type: "CharDelimiterSplit"; readonly delimiter: string }
  | { readonly type: "FixedLength"; readonly length: number }
  | {
      readonly type: "Split";
      readonly pattern: TextPattern;
      readonly behavior: SplitBehavior;
      readonly invert: boolean;
    }
  | {
      readonly type: "ByteLevel";
      readonly addPrefixSpace: boolean;
      readonly useRegex: boolean;
      readonly trimOffsets: boolean;
    }
  | Metaspace;

/** A pre-tokenizer that is not a sequence of others. */
export type SinglePreTokenizer = Exclude<PreTokenizer, { type: "Sequence" }>;

/** Finds the words of texts. */
export interface WordFinder {
  /** Appends the words of one piece of text; null: the scanner finds them all. */
  readonly split: ((piece: AlignedText, out: AlignedText[]) => void) | null;
  /** Writes the words in the byte alphabet (word by word, behind the cache); null: they stay as they are. */
  readonly bytes: ByteWords | null;
  /** Finds the same words one by one in the text that `prepare` makes of a piece; null: only `split` can. */
  readonly scanner: Scanner | null;
  /** null: the scanner reads the piece itself */
  readonly prepare: ((piece: AlignedText) => AlignedText) | null;
  /** True if words are long: whole pieces, or what stands between two literal texts. */
  readonly isWhole: boolean;
  /** True if the result depends on where a piece stood in the original text. */
  readonly needsAlignment: boolean;
}

/** A pre-tokenizer ready to run. */
export interface CompiledPreTokenizer extends WordFinder {
  readonly split: (piece: AlignedText, out: AlignedText[]) => void;
}

/** Prepares a pre-tokenizer; null passes every piece on whole. */
export function compilePreTokenizer(preTokenizer: PreTokenizer | null): CompiledPreTokenizer {
  const steps = preTokenizer === null ? [] : flatten(preTokenizer);
  const last = steps.at(-1);
  const endsInBytes = last?.type === "ByteLevel";
  const compiled = steps.flatMap((step, i) => compileSteps(step, endsInBytes && i === steps.length - 1));
  return {
    split: chain(compiled),
    bytes: endsInBytes ? createByteWords() : null,
    ...compileScanner(steps),
    isWhole: steps.every((step) => step.type === "Split" && step.pattern.type === "String"),
    needsAlignment: steps.some((step) => step.type === "Metaspace" && step.prependScheme === "first"),
  };
}

function flatten(preTokenizer: PreTokenizer): SinglePreTokenizer[] {
  return preTokenizer.type === "Sequence" ? preTokenizer.pretokenizers.flatMap(flatten) : [preTokenizer];
}

function compileSteps(preTokenizer: SinglePreTokenizer, defersBytes: boolean): Step[] {
  switch (preTokenizer.type) {
    case "Whitespace":
      return [byPattern({ type: "Regex", source: "\\w+|[^\\w\\s]+", dialect: "rust" }, "Removed", true)];
    case "WhitespaceSplit":
      return [byRegExp(/\p{White_Space}/gu, "Removed")];
    case "BertPreTokenizer":
      return bertSteps();
    case "UnicodeScripts":
      return [splitByScript];
    case "Punctuation":
      return [byRegExp(PUNCTUATION, preTokenizer.behavior)];
    case "Digits":
      return [byRegExp(/\p{N}/gu, preTokenizer.individualDigits ? "Isolated" : "Contiguous")];
    case "CharDelimiterSplit":
      return [byPattern({ type: "String", text: preTokenizer.delimiter }, "Removed", false)];
    case "FixedLength":
      return [fixedLength(preTokenizer.length)];
    case "Split":
      return [byPattern(preTokenizer.pattern, preTokenizer.behavior, preTokenizer.invert)];
    case "ByteLevel":
      return compileByteLevel(preTokenizer, defersBytes);
    case "Metaspace":
      return compileMetaspace(preTokenizer);
    default:
      return preTokenizer satisfies never;
  }
}

function byPattern(pattern: TextPattern, behavior: SplitBehavior, invert: boolean): Step {
  return byRegExp(compilePattern(pattern), behavior, invert);
}

function fixedLength(length: number): Step {
  return (piece, out) => {
    let start = 0;
    let at = 0;
    for (let count = 1; at < piece.text.length; count++) {
      at += codePointLength(piece.text, at);
      if (count % length !== 0 && at < piece.text.length) continue;
      out.push(sliceAligned(piece, start, at));
      start = at;
    }
  };
}

function compileByteLevel(
  options: { readonly addPrefixSpace: boolean; readonly useRegex: boolean },
  defersBytes: boolean,
): Step[] {
  const steps: Step[] = [];
  if (options.addPrefixSpace) {
    steps.push((piece, out) => {
      out.push(withPrefix(piece, " "));
    });
  }
  if (options.useRegex) steps.push(byPattern({ type: "Regex", source: GPT2_PATTERN }, "Isolated", false));
  if (!defersBytes) steps.push((piece, out) => out.push(applyRewrite(piece, byteLevelRewrite(piece.text))));
  return steps;
}

function compileMetaspace(options: Metaspace): Step[] {
  const mark: Step = (piece, out) => {
    out.push(markSpaces(piece, options));
  };
  if (!options.split) return [mark];
  return [mark, byPattern({ type: "String", text: options.replacement }, "MergedWithNext", false)];
}
