import type { RegexDialect } from "./regex/syntax.js";
import { escapeRegex, translateRegex } from "./regex/translate.js";

/** What to look for: a literal text or a regular expression in the notation of `dialect` (default "oniguruma"). */
export type TextPattern =
  | { readonly type: "String"; readonly text: string }
  | { readonly type: "Regex"; readonly source: string; readonly dialect?: RegexDialect };

/** Compiles a pattern to a global RegExp with Unicode matching. */
export function compilePattern(pattern: TextPattern): RegExp {
  switch (pattern.type) {
    case "String":
      return pattern.text === "" ? /(?!)/gu : new RegExp(escapeRegex(pattern.text), "gu");
    case "Regex":
      return translateRegex(pattern.source, pattern.dialect ?? "oniguruma");
    default:
      return pattern satisfies never;
  }
}
