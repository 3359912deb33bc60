import {
  type AlignedText,
  applyRewrite,
  codePointLength,
  originalStart,
  type Rewrite,
  RewriteBuilder,
  sliceAligned,
} from "../aligned-text.js";
import { byteLevelRewrite } from "../byte-level.js";
import { compilePattern, type TextPattern } from "../text-pattern.js";
import { type SplitBehavior, splitByPattern } from "./split.js";
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
  | {
      readonly type: "Metaspace";
      readonly replacement: string;
      readonly prependScheme: PrependScheme;
      readonly split: boolean;
    };

/** When Metaspace puts its symbol in front: always, at the start of the original text only, or never. */
export type PrependScheme = "always" | "first" | "never";

/** A pre-tokenizer ready to run. */
export interface CompiledPreTokenizer {
  /** Appends the words of one piece of text. */
  split(piece: AlignedText, out: AlignedText[]): void;
  /** True if the words still have to be written in the byte alphabet (done per word, behind the cache). */
  readonly endsInBytes: boolean;
  /** Set if splitting is nothing but cutting at the bounds of one pattern's matches. */
  readonly isolate: IsolatingPattern | null;
  /** True if the result depends on where a piece stood in the original text. */
  readonly needsAlignment: boolean;
}

/** A pattern whose matches, and the stretches between them, are the words. */
export interface IsolatingPattern {
  /** Matches only at its lastIndex. */
  readonly sticky: RegExp;
  /** Where the next match behind `at` begins, or the end of the text. */
  nextStart(text: string, at: number): number;
}

type Step = (piece: AlignedText, out: AlignedText[]) => void;

/** GPT-2's pattern. */
const GPT2_PATTERN = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

const NOTHING: Step = (piece, out) => {
  out.push(piece);
};

/** Prepares a pre-tokenizer; null passes every piece on whole. */
export function compilePreTokenizer(preTokenizer: PreTokenizer | null): CompiledPreTokenizer {
  const steps = preTokenizer === null ? [] : flatten(preTokenizer);
  const last = steps.at(-1);
  const endsInBytes = last?.type === "ByteLevel";
  const compiled = steps.flatMap((step, i) => compileSteps(step, endsInBytes && i === steps.length - 1));
  return {
    split: chain(compiled),
    endsInBytes,
    isolate: isolatingPattern(steps),
    needsAlignment: steps.some((step) => step.type === "Metaspace" && step.prependScheme === "first"),
  };
}

function flatten(preTokenizer: PreTokenizer): Exclude<PreTokenizer, { type: "Sequence" }>[] {
  return preTokenizer.type === "Sequence" ? preTokenizer.pretokenizers.flatMap(flatten) : [preTokenizer];
}

function chain(steps: readonly Step[]): Step {
  const [first = NOTHING, ...rest] = steps;
  if (rest.length === 0) return first;
  return (piece, out) => {
    let pieces: AlignedText[] = [];
    first(piece, pieces);
    for (const step of rest) {
      const next: AlignedText[] = [];
      for (const inner of pieces) step(inner, next);
      pieces = next;
    }
    for (const inner of pieces) out.push(inner);
  };
}

/** Finds the one pattern that decides all bounds, if the steps are of that kind. */
function isolatingPattern(
  steps: readonly Exclude<PreTokenizer, { type: "Sequence" }>[],
): IsolatingPattern | null {
  const [first, second] = steps;
  if (first === undefined || steps.length > 2) return null;
  if (first.type === "ByteLevel" && steps.length === 1) {
    const isPlain = first.useRegex && !first.addPrefixSpace;
    return isPlain ? isolating({ type: "Regex", source: GPT2_PATTERN }) : null;
  }
  const isTailPlain = second?.type === "ByteLevel" && !second.useRegex && !second.addPrefixSpace;
  if (first.type !== "Split" || first.behavior !== "Isolated" || !isTailPlain) return null;
  return isolating(first.pattern);
}

function isolating(pattern: TextPattern): IsolatingPattern {
  const global = compilePattern(pattern);
  return {
    sticky: new RegExp(global.source, global.flags.replace("g", "y")),
    nextStart(text, at) {
      global.lastIndex = at;
      for (let match = global.exec(text); match !== null; match = global.exec(text)) {
        if (match.index > at) return match.index;
        // An empty match: look again behind it.
        global.lastIndex = Math.max(global.lastIndex, match.index + codePointLength(text, match.index));
      }
      return text.length;
    },
  };
}

function compileSteps(
  preTokenizer: Exclude<PreTokenizer, { type: "Sequence" }>,
  defersBytes: boolean,
): Step[] {
  switch (preTokenizer.type) {
    case "Whitespace":
      return [byPattern({ type: "Regex", source: "\\w+|[^\\w\\s]+", dialect: "rust" }, "Removed", true)];
    case "WhitespaceSplit":
      return [byRegExp(/\p{White_Space}/gu, "Removed")];
    case "BertPreTokenizer":
      return [byRegExp(/\p{White_Space}/gu, "Removed"), byRegExp(PUNCTUATION, "Isolated")];
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

const PUNCTUATION = /[!-/:-@[-`{-~\p{P}]/gu;

function byRegExp(pattern: RegExp, behavior: SplitBehavior, invert = false): Step {
  return (piece, out) => splitByPattern(piece, { pattern, behavior, invert }, out);
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
    steps.push((piece, out) =>
      out.push(piece.text.startsWith(" ") ? piece : applyRewrite(piece, prefixed(piece, " "))),
    );
  }
  if (options.useRegex) steps.push(byPattern({ type: "Regex", source: GPT2_PATTERN }, "Isolated", false));
  if (!defersBytes) steps.push((piece, out) => out.push(applyRewrite(piece, byteLevelRewrite(piece.text))));
  return steps;
}

function compileMetaspace(options: {
  readonly replacement: string;
  readonly prependScheme: PrependScheme;
  readonly split: boolean;
}): Step[] {
  const { replacement, prependScheme, split } = options;
  const mark: Step = (piece, out) => {
    const marked = replaceSpaces(piece, replacement);
    const isFirst = prependScheme === "always" || (prependScheme === "first" && originalStart(marked) === 0);
    const needsPrefix = isFirst && !marked.text.startsWith(replacement);
    out.push(needsPrefix ? applyRewrite(marked, prefixed(marked, replacement)) : marked);
  };
  return split ? [mark, byPattern({ type: "String", text: replacement }, "MergedWithNext", false)] : [mark];
}

function replaceSpaces(piece: AlignedText, replacement: string): AlignedText {
  if (!piece.text.includes(" ")) return piece;
  if (replacement.length === 1) return { ...piece, text: piece.text.replaceAll(" ", replacement) };
  const builder = new RewriteBuilder();
  let end = 0;
  for (const match of piece.text.matchAll(/ /g)) {
    builder.keep(piece.text, end, match.index);
    builder.put(replacement, match.index);
    end = match.index + 1;
  }
  builder.keep(piece.text, end, piece.text.length);
  return applyRewrite(piece, builder.finish());
}

function prefixed(piece: AlignedText, prefix: string): Rewrite | null {
  if (piece.text === "") return null;
  const builder = new RewriteBuilder();
  builder.put(prefix, 0);
  builder.keep(piece.text, 0, piece.text.length);
  return builder.finish();
}
