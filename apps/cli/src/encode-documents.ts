import type { Tokenizer } from "@heddle/tokenizers";

/** Ids of a text; of several documents, each with the special tokens that the tokenizer adds, or with its end token. */
export function encodeDocuments(tokenizer: Tokenizer, text: string, separator: string | undefined): number[] {
  if (separator === undefined) return [...tokenizer.encodeIds(text)];
  const marksDocuments = tokenizer.countTokens("") > 0;
  const end = marksDocuments || tokenizer.eosId === undefined ? [] : [tokenizer.eosId];
  const documents = text.split(separator).map((document) => document.trim());
  return documents
    .filter((document) => document !== "")
    .flatMap((document) => [...tokenizer.encodeIds(document), ...end]);
}
