import type { TextPattern } from "../text-pattern.js";
import type { Metaspace } from "./metaspace.js";
import type { SplitBehavior } from "./split.js";

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
