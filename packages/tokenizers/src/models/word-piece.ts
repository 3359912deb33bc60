import { PieceTrie, TRIE_ROOT } from "../piece-trie.js";
import { createVocabulary } from "../vocabulary.js";
import { requireUnknown } from "./bpe.js";
import type { CompiledModel } from "./compiled.js";

/** Longest match first, from the left; pieces inside a word carry a prefix. */
export interface WordPieceModel {
  readonly type: "WordPiece";
  readonly vocab: readonly (readonly [string, number])[];
  readonly unkToken: string;
  readonly continuingSubwordPrefix: string;
  /** A longer word (in code points) becomes the unknown token. */
  readonly maxInputCharsPerWord: number;
}

/**
 * Prepares WordPiece; a word that cannot be covered becomes one unknown token.
 *
 * @see Schuster and Nakajima 2012; Devlin et al. 2018, BERT, arXiv:1810.04805
 */
export function compileWordPiece(model: WordPieceModel): CompiledModel {
  const vocabulary = createVocabulary(model.vocab);
  const unkId = requireUnknown(model.unkToken, vocabulary) as number;
  const trie = new PieceTrie(model.vocab.length * 4);
  const inside = trie.addRoot();
  const prefix = model.continuingSubwordPrefix;
  for (const [token, id] of model.vocab) {
    trie.add(token, id);
    if (token.startsWith(prefix)) trie.add(token.slice(prefix.length), id, inside);
  }
  return {
    vocabulary,
    tokenizeBytes: null,
    createCuts: null,
    createByteCuts: null,
    tokenize(word, out) {
      const before = out.length;
      const isLong =
        word.length > model.maxInputCharsPerWord && countCharacters(word) > model.maxInputCharsPerWord;
      let at = isLong ? -1 : 0;
      while (at >= 0 && at < word.length) {
        let node = at === 0 ? TRIE_ROOT : inside;
        let id = -1;
        let end = at;
        for (let next = at; next < word.length; next++) {
          node = trie.child(node, word.charCodeAt(next));
          if (node < 0) break;
          const found = trie.valueAt(node);
          if (found < 0) continue;
          id = found;
          end = next + 1;
        }
        if (id >= 0) out.push(id, at, end);
        at = id < 0 ? -1 : end;
      }
      if (at >= 0) return;
      out.length = before;
      out.push(unkId, 0, word.length);
    },
  };
}

function countCharacters(text: string): number {
  let count = 0;
  for (const _ of text) count++;
  return count;
}
