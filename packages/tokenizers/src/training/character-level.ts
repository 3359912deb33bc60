import { createTokenizer } from "../create-tokenizer.js";
import type { Normalizer } from "../normalizers/normalizer.js";
import type { PreTokenizer } from "../pre-tokenizers/kinds.js";
import { plainSpecialToken } from "../special-token.js";
import type { Tokenizer, TokenRoles } from "../tokenizer.js";
import type { TrainingControl } from "./progress.js";
import { trainWordLevel } from "./word-level-trainer.js";

export interface TrainCharacterLevelOptions extends TrainingControl {
  /** Tokens in all; default all characters of the corpus. */
  readonly vocabSize?: number;
  /** A character (code point) that occurs less often is unknown; default 1. */
  readonly minFrequency?: number;
  /** Get the first ids; the unknown token is put in front if it is not among them. */
  readonly specialTokens?: readonly string[];
  /** Default "<unk>". */
  readonly unkToken?: string;
  readonly normalizer?: Normalizer | null;
  readonly roles?: TokenRoles;
}

const CHARACTERS: PreTokenizer = { type: "FixedLength", length: 1 };

/**
 * Trains a tokenizer of characters: each code point that the corpus holds is a token, the most frequent first.
 *
 * @param texts  documents or lines, read once and not kept
 */
export async function trainCharacterLevel(
  texts: Iterable<string> | AsyncIterable<string>,
  options: TrainCharacterLevelOptions = {},
): Promise<Tokenizer> {
  const { unkToken = "<unk>", normalizer = null, roles, vocabSize = 0x110000 } = options;
  const given = options.specialTokens ?? [];
  const specialTokens = given.includes(unkToken) ? given : [unkToken, ...given];
  const model = await trainWordLevel(texts, {
    ...options,
    vocabSize,
    specialTokens,
    unkToken,
    preTokenizer: CHARACTERS,
  });
  return createTokenizer({
    normalizer,
    preTokenizer: CHARACTERS,
    model,
    postProcessor: null,
    decoder: { type: "Fuse" },
    addedTokens: specialTokens.map((token, id) => plainSpecialToken(token, id)),
    roles: { unk: unkToken, ...roles },
  });
}
