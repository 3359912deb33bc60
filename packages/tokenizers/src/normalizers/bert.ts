import { type Rewrite, RewriteBuilder } from "../aligned-text.js";
import { chainRewrites, filterText, mapText } from "./filter.js";
import { traceLowercase } from "./lowercase.js";
import { traceUnicodeForm } from "./unicode-form.js";

/** The switches of BERT's own text clean-up. */
export interface BertOptions {
  readonly cleanText: boolean;
  readonly handleChineseChars: boolean;
  readonly stripAccents: boolean | null;
  readonly lowercase: boolean;
}

/**
 * Cleans text as BERT does: drops control characters, turns white space into spaces, sets CJK ideographs apart,
 * removes accents, lower-cases.
 *
 * @see Devlin et al. 2018, BERT, arXiv:1810.04805; `BasicTokenizer` of the published code
 */
export function traceBert(text: string, options: BertOptions): Rewrite | null {
  let rewrite: Rewrite | null = null;
  const now = (): string => rewrite?.text ?? text;
  if (options.cleanText) {
    const cleaned = filterText(text, (char) => !isDropped(char));
    rewrite = mapText(text, cleaned, (clean) => clean.replace(/\p{White_Space}/gu, " "));
  }
  if (options.handleChineseChars) rewrite = chainRewrites(rewrite, spaceIdeographs(now()));
  if (options.stripAccents ?? options.lowercase) {
    rewrite = chainRewrites(rewrite, traceUnicodeForm(now(), "NFD"));
    rewrite = chainRewrites(
      rewrite,
      filterText(now(), (char) => !/\p{Mn}/u.test(char)),
    );
  }
  if (options.lowercase) rewrite = chainRewrites(rewrite, traceLowercase(now()));
  return rewrite;
}

/** Control characters, but for some that are white space, and U+FFFD, for which a lone surrogate stands too. */
function isDropped(char: string): boolean {
  return !/[\t\n\r]/.test(char) && /[\p{Cc}\p{Cf}\p{Co}\p{Cs}\ufffd]/u.test(char);
}

const IDEOGRAPH =
  /[\u4e00-\u9fff\u3400-\u4dbf\u{20000}-\u{2a6df}\u{2a700}-\u{2b73f}\u{2b740}-\u{2b81f}\u{2b920}-\u{2ceaf}\uf900-\ufaff\u{2f800}-\u{2fa1f}]/gu;

function spaceIdeographs(text: string): Rewrite | null {
  const builder = new RewriteBuilder();
  let end = 0;
  for (const match of text.matchAll(IDEOGRAPH)) {
    builder.keep(text, end, match.index);
    builder.put(` ${match[0]} `, match.index);
    end = match.index + match[0].length;
  }
  if (end === 0) return null;
  builder.keep(text, end, text.length);
  return builder.finish();
}
