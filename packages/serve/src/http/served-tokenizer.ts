import type { Tokenizer } from "@heddle/tokenizers";
import type { ServedTokenizer } from "./served-model.js";

/** Adapts a tokenizer to what serving needs. Special tokens in prompts count as such; answers leave them out. */
export function createServedTokenizer(tokenizer: Tokenizer): ServedTokenizer {
  const middle = [...tokenizer.encodeIds("a", { addSpecialTokens: false })]; // so that no token stands first
  return {
    encode: (text) => [...tokenizer.encodeIds(text)],
    encodeRendered: (text) => [...tokenizer.encodeIds(text, { addSpecialTokens: false })],
    createDecoder: (prompt) => tokenizer.streamDecoder({ skipSpecialTokens: true, after: prompt }),
    tokenize(text) {
      const { ids, tokens, offsets } = tokenizer.encode(text, { addSpecialTokens: false });
      return { ids: [...ids], tokens, offsets };
    },
    tokenText(id) {
      if (tokenizer.idToToken(id) === undefined) return ""; // a row of the vocabulary that stands for no token
      const decoder = tokenizer.streamDecoder({ after: middle });
      return decoder.push(id) + decoder.flush();
    },
  };
}
