import { emitRegex } from "./emit.js";
import { parseRegex } from "./parse.js";
import type { RegexDialect } from "./syntax.js";

/**
 * Translates a regular expression of another engine into a global JavaScript RegExp with the same matches.
 *
 * White space, digits and word characters get their Unicode meaning, `(?i:...)` is spelled out, possessive
 * quantifiers and atomic groups are kept, `^` and `$` mean lines for Oniguruma and the whole text for Rust.
 *
 * @param dialect  the engine the pattern was written for; tokenizer.json means "oniguruma", tiktoken "rust"
 * @returns a RegExp with flags `gu` (or `gv`); the caller owns its lastIndex
 * @throws HeddleError "unsupported" naming a construct that has no translation
 */
export function translateRegex(pattern: string, dialect: RegexDialect): RegExp {
  const { source, unicodeFlag } = emitRegex(parseRegex(pattern, dialect));
  return new RegExp(source, `g${unicodeFlag}`);
}

/** Writes a text as a pattern that matches it literally. */
export function escapeRegex(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
}
