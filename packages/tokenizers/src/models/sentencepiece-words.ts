import { codePointLength } from "../aligned-text.js";
import { SPACE_SYMBOL } from "../normalizers/sentencepiece.js";
import { longestPrefix } from "../piece-trie.js";
import {
  byText,
  type CompiledAlgorithm,
  type SentencePieceModel,
  userDefinedTrie,
} from "./sentencepiece-pieces.js";
import type { PathPiece } from "./unigram-lattice.js";

/** Characters and user-defined symbols. */
export function compileSentencePieceChars(model: SentencePieceModel): CompiledAlgorithm {
  const ids = new Map(model.pieces.map(({ piece }, id) => [piece, id]));
  const symbols = userDefinedTrie(model.pieces);
  const segment = (text: string): PathPiece[] => {
    const path: PathPiece[] = [];
    for (let start = 0; start < text.length; ) {
      const end = start + (longestPrefix(symbols, text, start) || codePointLength(text, start));
      path.push({ id: ids.get(text.slice(start, end)) ?? -1, start, end });
      start = end;
    }
    return path;
  };
  return byText(segment);
}

/** What stands between spaces. */
export function compileSentencePieceWords(model: SentencePieceModel): CompiledAlgorithm {
  const ids = new Map(model.pieces.map(({ piece }, id) => [piece, id]));
  const word = model.treatWhitespaceAsSuffix
    ? new RegExp(`[^${SPACE_SYMBOL}]*${SPACE_SYMBOL}|[^${SPACE_SYMBOL}]+`, "gu")
    : new RegExp(`${SPACE_SYMBOL}[^${SPACE_SYMBOL}]*|[^${SPACE_SYMBOL}]+`, "gu");
  const segment = (text: string): PathPiece[] =>
    Array.from(text.matchAll(word), (match) => ({
      id: ids.get(match[0]) ?? -1,
      start: match.index,
      end: match.index + match[0].length,
    }));
  return byText(segment);
}
