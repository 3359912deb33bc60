import type { Encoding } from "./encoding.js";
import { spanTokens, type TokenSpan } from "./token-spans.js";

export interface ColorTokensOptions {
  /** Write the ids behind the text; default true. */
  readonly ids?: boolean;
}

/** Light grounds among the 256 colours of terminals; the text on them is black. */
const BACKGROUNDS = [223, 153, 188, 151, 225, 186] as const;
const RESET = "\u001b[0m";
const QUIET = "\u001b[2m";

/**
 * Writes a text for a terminal, its tokens on coloured grounds, then how many they are and their ids.
 *
 * Line breaks, tabs and other control characters show as ⏎, ⇥ and ·; tokens that were added show their names. A stretch
 * that several tokens share shows their number as ×2.
 *
 * @param encoding  of `text` alone, without truncation
 */
export function colorTokens(text: string, encoding: Encoding, options: ColorTokensOptions = {}): string {
  const { tokens } = encoding;
  let shown = 0;
  const colored = spanTokens(text, encoding).map((span) => {
    if (span.tokens.length === 0) return `${QUIET}${visible(span.text)}${RESET}`;
    const ground = BACKGROUNDS[shown++ % BACKGROUNDS.length];
    const breaks = "\n".repeat(span.text.split("\n").length - 1);
    return `\u001b[48;5;${ground};38;5;16m${spanLabel(span, tokens)}${RESET}${breaks}`;
  });
  const length = [...text].length;
  const each = encoding.length === 0 ? "" : `, ${(length / encoding.length).toFixed(2)} characters each`;
  const summary = `${QUIET}${encoding.length} tokens${each}${RESET}`;
  const ids = options.ids === false ? "" : `\n${QUIET}${[...encoding.ids].join(" ")}${RESET}`;
  return `${colored.join("")}\n${summary}${ids}`;
}

function spanLabel({ text, tokens }: TokenSpan, names: readonly string[]): string {
  if (text === "") return tokens.map((i) => visible(names[i] ?? "")).join("");
  return visible(text) + (tokens.length > 1 ? `×${tokens.length}` : "");
}

/** Text with what would move the cursor made visible; a line break also breaks the line, on no ground. */
function visible(text: string): string {
  return text
    .replaceAll("\t", "⇥")
    .replaceAll(/[\p{Cc}\p{Cs}\p{Bidi_Control}]/gu, (char) => (char === "\n" ? "⏎" : "·"));
}
