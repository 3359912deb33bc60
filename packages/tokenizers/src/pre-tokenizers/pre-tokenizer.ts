import { applyRewrite, codePointLength, sliceAligned } from "../aligned-text.js";
import { byteLevelRewrite } from "../byte-level.js";
import { createByteWords } from "../byte-words.js";
import { compilePattern, type TextPattern } from "../text-pattern.js";
import type { PreTokenizer, SinglePreTokenizer } from "./kinds.js";
import { type Metaspace, markSpaces, withPrefix } from "./metaspace.js";
import { compileScanner } from "./scanners/compile-scanner.js";
import { GPT2_PATTERN } from "./scanners/known-patterns.js";
import type { SplitBehavior } from "./split.js";
import { bertSteps, byRegExp, chain, PUNCTUATION, type Step } from "./steps.js";
import { splitByScript } from "./unicode-scripts.js";
import type { CompiledPreTokenizer } from "./word-finder.js";

/** Prepares a pre-tokenizer; null passes every piece on whole. */
export function compilePreTokenizer(preTokenizer: PreTokenizer | null): CompiledPreTokenizer {
  const steps = preTokenizer === null ? [] : flatten(preTokenizer);
  const last = steps.at(-1);
  const endsInBytes = last?.type === "ByteLevel";
  const compiled = compileScanner(steps);
  const cut = () =>
    chain(steps.flatMap((step, i) => compileSteps(step, endsInBytes && i === steps.length - 1)));
  // What has a scanner has good patterns: they are compiled when somebody asks for the slow way.
  let split: Step | null = compiled.scanner === null ? cut() : null;
  return {
    split(piece, out) {
      split ??= cut();
      split(piece, out);
    },
    bytes: endsInBytes ? createByteWords() : null,
    ...compiled,
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
