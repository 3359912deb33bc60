import { compileNormalizer } from "../../normalizers/normalizer.js";
import { longestPrefix, type PieceTrie, trieOf } from "../../piece-trie.js";
import { byteLength } from "../../text-coders.js";
import type { SentencePieceSpec } from "./options.js";

/** Stands for characters without a piece while training goes on (U+2585); texts that hold it are left out. */
export const UNKNOWN = "\u2585";
/** Stands for a symbol that is not learned; no piece spans it. */
export const BOUNDARY = "\t";

/** Prepares the way from a text to its normal form of a text, "" if it is left out. */
export function createSentenceNormalizer(
  spec: SentencePieceSpec,
  symbols: readonly string[],
): (text: string) => string {
  const normalizer = compileNormalizer({
    type: "SentencePiece",
    precompiledCharsmap: spec.precompiledCharsmap,
    addDummyPrefix: spec.addDummyPrefix,
    removeExtraWhitespaces: spec.removeExtraWhitespaces,
    escapeWhitespaces: true,
    treatWhitespaceAsSuffix: spec.treatWhitespaceAsSuffix,
    userDefinedSymbols: [],
  });
  const trie = trieOf(symbols);
  const isLong = (text: string): boolean =>
    text.length * 3 > spec.maxSentenceLength && byteLength(text) > spec.maxSentenceLength;
  return (text) => {
    if (text === "" || text.includes(UNKNOWN) || isLong(text)) return "";
    return replaceSymbols(normalizer.apply(text), trie);
  };
}

function replaceSymbols(text: string, trie: PieceTrie): string {
  let result = "";
  let copied = 0;
  for (let at = 0; at < text.length; ) {
    const length = longestPrefix(trie, text, at);
    if (length > 0) {
      result += text.slice(copied, at) + BOUNDARY;
      copied = at + length;
    }
    at += Math.max(1, length);
  }
  return result + text.slice(copied);
}
