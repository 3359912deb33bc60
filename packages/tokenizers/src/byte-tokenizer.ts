import { BYTE_CHARACTERS } from "./byte-level.js";
import { createTokenizer } from "./create-tokenizer.js";
import { PLAIN_BPE } from "./models/bpe.js";
import { plainSpecialToken } from "./special-token.js";
import type { Tokenizer, TokenRoles } from "./tokenizer.js";

export interface ByteTokenizerOptions {
  /** Get the first ids; the bytes follow in their order. Default none. */
  readonly specialTokens?: readonly string[];
  readonly roles?: TokenRoles;
}

/**
 * Creates a tokenizer of bytes: id = number of special tokens + byte of the text's UTF-8.
 *
 * @see Xue et al. 2021, ByT5, arXiv:2105.13626, section 3 (with special tokens <pad>, </s>, <unk>)
 */
export function createByteTokenizer(options: ByteTokenizerOptions = {}): Tokenizer {
  const { specialTokens = [], roles } = options;
  const bytes = { type: "ByteLevel", addPrefixSpace: false, trimOffsets: false, useRegex: false } as const;
  const tokens = [...specialTokens, ...BYTE_CHARACTERS];
  return createTokenizer({
    normalizer: null,
    preTokenizer: bytes,
    model: {
      ...PLAIN_BPE,
      vocab: tokens.map((token, id) => [token, id] as const),
      merges: [],
    },
    postProcessor: null,
    decoder: bytes,
    addedTokens: specialTokens.map(plainSpecialToken),
    ...(roles === undefined ? {} : { roles }),
  });
}
