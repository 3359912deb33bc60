import { type Rewrite, RewriteBuilder } from "../aligned-text.js";
import { byteLevelRewrite } from "../byte-level.js";
import { compilePattern, type TextPattern } from "../text-pattern.js";
import { traceBert } from "./bert.js";
import { type CompiledNormalizer, compileTraced, type InPlaceChange } from "./compiled.js";
import { coverPrefix } from "./cover-prefix.js";
import { filterText, mapText } from "./filter.js";
import { lowercase, traceLowercase } from "./lowercase.js";
import { type CharsMap, parseCharsMap, tracePrecompiled } from "./precompiled.js";
import { compileSentencePieceNormalizer, type SentencePieceNormalizer } from "./sentencepiece.js";
import { traceUnicodeForm, type UnicodeForm } from "./unicode-form.js";

/** Changes text before it is split; the names and fields are those of tokenizer.json in camel case. */
export type Normalizer =
  | { readonly type: "Sequence"; readonly normalizers: readonly Normalizer[] }
  | { readonly type: UnicodeForm }
  | { readonly type: "Lowercase" }
  | { readonly type: "Strip"; readonly stripLeft: boolean; readonly stripRight: boolean }
  | { readonly type: "StripAccents" }
  | { readonly type: "Replace"; readonly pattern: TextPattern; readonly content: string }
  | { readonly type: "Prepend"; readonly prepend: string }
  | { readonly type: "Nmt" }
  | { readonly type: "ByteLevel" }
  | { readonly type: "Precompiled"; readonly precompiledCharsmap: string }
  | {
      readonly type: "BertNormalizer";
      readonly cleanText: boolean;
      readonly handleChineseChars: boolean;
      /** null: as `lowercase` */
      readonly stripAccents: boolean | null;
      readonly lowercase: boolean;
    }
  | SentencePieceNormalizer;

/** Prepares a normalizer; work that does not depend on the text (tables, patterns) is done here, once. */
export function compileNormalizer(normalizer: Normalizer): CompiledNormalizer {
  if (normalizer.type === "Sequence") {
    const steps = normalizer.normalizers.map(compileNormalizer);
    return {
      apply: (text) => steps.reduce((result, step) => step.apply(result), text),
      align: (aligned) => steps.reduce((result, step) => step.align(result), aligned),
      inPlace: steps.reduce<InPlaceChange | null>(
        (change, step) =>
          change === null || step.inPlace === null ? null : joinChanges(change, step.apply, step.inPlace),
        { prefix: "", replaced: [] },
      ),
      coverPrefix,
    };
  }
  if (normalizer.type === "SentencePiece") return compileSentencePieceNormalizer(normalizer);
  const inPlace = normalizer.type === "Replace" ? replacedUnits(normalizer) : null;
  if (inPlace !== null) {
    const apply = compileApply(normalizer) as (text: string) => string;
    return { apply, align: (aligned) => ({ ...aligned, text: apply(aligned.text) }), inPlace };
  }
  const compiled = compileTraced(compileTrace(normalizer), compileApply(normalizer));
  if (normalizer.type !== "Prepend") return compiled;
  return { ...compiled, inPlace: { prefix: normalizer.prepend, replaced: [] }, coverPrefix };
}

/** One change after another: what was put before a text is changed with it. */
function joinChanges(
  { prefix, replaced }: InPlaceChange,
  apply: (text: string) => string,
  next: InPlaceChange,
): InPlaceChange {
  return {
    prefix: prefix === "" ? next.prefix : apply(prefix),
    replaced: [...replaced, ...next.replaced],
  };
}

type SingleNormalizer = Exclude<Normalizer, { type: "Sequence" } | SentencePieceNormalizer>;

/** The quick way, where the platform has one that builds no alignment. */
function compileApply(normalizer: SingleNormalizer): ((text: string) => string) | null {
  switch (normalizer.type) {
    case "NFC":
    case "NFD":
    case "NFKC":
    case "NFKD":
      return (text) => text.normalize(normalizer.type);
    case "Lowercase":
      return lowercase;
    case "Prepend":
      return (text) => (text === "" ? text : normalizer.prepend + text);
    case "Replace": {
      const { pattern, content } = normalizer;
      const escaped = content.replaceAll("$", "$$$$");
      if (pattern.type === "String" && pattern.text !== "") {
        return (text) => text.replaceAll(pattern.text, escaped);
      }
      const compiled = compilePattern(pattern);
      return (text) => text.replace(compiled, escaped);
    }
    default:
      return null;
  }
}

/** The change if one unit takes the place of another, and neither is half a character; else null. */
function replacedUnits({ pattern, content }: Extract<Normalizer, { type: "Replace" }>): InPlaceChange | null {
  const isUnit = (text: string): boolean => /^[^\ud800-\udfff]$/.test(text);
  if (pattern.type !== "String" || !isUnit(pattern.text) || !isUnit(content)) return null;
  return { prefix: "", replaced: [[pattern.text.charCodeAt(0), content.charCodeAt(0)]] };
}

/** The exact way: the new text and the source of each of its units; null where nothing changes. */
function compileTrace(normalizer: SingleNormalizer): (text: string) => Rewrite | null {
  switch (normalizer.type) {
    case "NFC":
    case "NFD":
    case "NFKC":
    case "NFKD":
      return (text) => traceUnicodeForm(text, normalizer.type);
    case "Lowercase":
      return traceLowercase;
    case "Strip":
      return (text) => traceStrip(text, normalizer.stripLeft, normalizer.stripRight);
    case "StripAccents":
      return (text) => filterText(text, (char) => !/\p{M}/u.test(char));
    case "Replace": {
      const pattern = compilePattern(normalizer.pattern);
      return (text) => traceReplace(text, pattern, normalizer.content);
    }
    case "Prepend":
      return (text) => tracePrepend(text, normalizer.prepend);
    case "Nmt":
      return traceNmt;
    case "ByteLevel":
      return byteLevelRewrite;
    case "Precompiled": {
      const charsMap: CharsMap = parseCharsMap(normalizer.precompiledCharsmap);
      return (text) => tracePrecompiled(text, charsMap);
    }
    case "BertNormalizer":
      return (text) => traceBert(text, normalizer);
    default:
      return normalizer satisfies never;
  }
}

function traceStrip(text: string, left: boolean, right: boolean): Rewrite | null {
  const start = left ? (/^\p{White_Space}*/u.exec(text)?.[0].length ?? 0) : 0;
  let end = text.length;
  while (right && end > start && /\p{White_Space}/u.test(text[end - 1] as string)) end--;
  if (start === 0 && end === text.length) return null;
  const builder = new RewriteBuilder();
  builder.keep(text, start, end);
  return builder.finish();
}

function traceReplace(text: string, pattern: RegExp, content: string): Rewrite | null {
  const builder = new RewriteBuilder();
  let end = 0;
  for (const match of text.matchAll(pattern)) {
    builder.keep(text, end, match.index);
    end = match.index + match[0].length;
    // What replaces a match is aligned with the last character of the match.
    builder.put(content, Math.max(0, end - (/[\udc00-\udfff]$/.test(match[0]) ? 2 : 1)));
  }
  if (end === 0) return pattern.test("") ? builder.finish() : null;
  builder.keep(text, end, text.length);
  return builder.finish();
}

function tracePrepend(text: string, prefix: string): Rewrite | null {
  if (text === "" || prefix === "") return null;
  const builder = new RewriteBuilder();
  builder.put(prefix, 0);
  builder.keep(text, 0, text.length);
  return builder.finish();
}

/** The clean-up of the Nmt rule: drops control characters and turns odd white space into spaces. */
function traceNmt(text: string): Rewrite | null {
  const kept = filterText(text, (char) => !isNmtControl(char.charCodeAt(0)));
  const spaces = /[\t\n\f\r\u1680\u200b-\u200f\u2028\u2029\u2581\ufeff\ufffd]/g;
  return mapText(text, kept, (now) => now.replace(spaces, " "));
}

/** The control characters that the rule drops: all but tab, line feed, form feed, carriage return and NEL. */
function isNmtControl(unit: number): boolean {
  const isLow = unit >= 1 && unit < 0x20 && unit !== 9 && unit !== 10 && unit !== 12 && unit !== 13;
  return isLow || unit === 0x7f || unit === 0x8f || unit === 0x9f;
}
