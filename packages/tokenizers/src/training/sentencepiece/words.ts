import { SPACE_SYMBOL } from "../../normalizers/sentencepiece.js";
import type { SentencePieceSpec } from "./options.js";

/**
 * Cuts a normalised text into words, each with its space before it or, as a suffix, behind it. Where pieces may consist
 * of spaces only, a run of spaces stays together.
 *
 * @see sentencepiece/src/model_interface.cc, SplitIntoWords
 */
export function splitIntoWords(
  text: string,
  spec: Pick<SentencePieceSpec, "treatWhitespaceAsSuffix" | "allowWhitespaceOnlyPieces">,
): string[] {
  return text.match(spec.treatWhitespaceAsSuffix ? suffixed(spec) : prefixed(spec)) ?? [];
}

const S = SPACE_SYMBOL;
const prefixed = ({ allowWhitespaceOnlyPieces }: { readonly allowWhitespaceOnlyPieces: boolean }): RegExp =>
  allowWhitespaceOnlyPieces
    ? new RegExp(`${S}+[^${S}]*|[^${S}]+`, "gu")
    : new RegExp(`${S}[^${S}]*|[^${S}]+`, "gu");
const suffixed = ({ allowWhitespaceOnlyPieces }: { readonly allowWhitespaceOnlyPieces: boolean }): RegExp =>
  allowWhitespaceOnlyPieces
    ? new RegExp(`[^${S}]*${S}+|[^${S}]+`, "gu")
    : new RegExp(`[^${S}]*${S}|[^${S}]+`, "gu");
