import { compileBertParts } from "../bert-words.js";
import { TokenTextDecoder } from "../decoders/quick.js";
import { perToken } from "../decoders/stage.js";
import { wordPieceText } from "../decoders/word-piece.js";
import { HeddleError } from "../error.js";
import { compileWordPiece } from "../models/word-piece.js";
import { assembleTokenizer } from "../pipeline.js";
import { compileBertEnds } from "../post-processors/bert.js";
import { missingToken, plainSpecialToken } from "../special-token.js";
import type { Tokenizer, TokenizerConfig, TokenRoles } from "../tokenizer.js";

export interface VocabTxtOptions {
  /** Lowercase and strip accents, as uncased BERT does; default true. */
  readonly lowercase?: boolean;
  /** Strip accents; default as `lowercase`. */
  readonly stripAccents?: boolean | null;
  /** Tokens with a role that differ from BERT's: pad "[PAD]", unk "[UNK]", bos "[CLS]", eos "[SEP]". */
  readonly roles?: TokenRoles;
}

/**
 * Loads BERT's `vocab.txt`: one token a line, the line's number being the id. Texts are put between [CLS] and [SEP].
 *
 * @throws HeddleError "format" if the unknown token, [CLS] or [SEP] is missing
 * @see Devlin et al. 2018, BERT, arXiv:1810.04805; google-research/bert tokenization.py
 */
export function fromVocabTxt(text: string, options: VocabTxtOptions = {}): Tokenizer {
  const { lowercase = true, stripAccents = null } = options;
  const lines = text.split(/\r?\n/);
  while (lines.at(-1) === "") lines.pop();
  const ids = new Map<string, number>();
  for (const [id, token] of lines.entries()) {
    const known = ids.get(token);
    if (known !== undefined) throw repeatedToken(token, known, id);
    ids.set(token, id);
  }
  const roles = { bos: "[CLS]", eos: "[SEP]", pad: "[PAD]", unk: "[UNK]", ...options.roles };
  const idOf = (token: string): number => {
    const id = ids.get(token);
    if (id === undefined) throw missingToken("fromVocabTxt", token, ids.size);
    return id;
  };
  idOf(roles.unk);
  const special = [roles.pad, roles.unk, roles.bos, roles.eos, "[MASK]"].filter((token) => ids.has(token));
  const cleanUp = {
    type: "BertNormalizer",
    cleanText: true,
    handleChineseChars: true,
    stripAccents,
    lowercase,
  } as const;
  const model = {
    type: "WordPiece",
    vocab: [...ids],
    unkToken: roles.unk,
    continuingSubwordPrefix: "##",
    maxInputCharsPerWord: 100,
  } as const;
  const ends = {
    type: "BertProcessing",
    cls: [roles.bos, idOf(roles.bos)],
    sep: [roles.eos, idOf(roles.eos)],
  } as const;
  const decoder = { type: "WordPiece", prefix: "##", cleanup: true } as const;
  const config: TokenizerConfig = {
    normalizer: cleanUp,
    preTokenizer: { type: "BertPreTokenizer" },
    model,
    postProcessor: ends,
    decoder,
    addedTokens: special.map((token) => plainSpecialToken(token, idOf(token))),
    roles,
  };
  const createDecodeStages = () => [perToken((token, i) => wordPieceText(decoder, token, i))];
  return assembleTokenizer(config, {
    ...compileBertParts(config, cleanUp, compileWordPiece(model)),
    postProcessor: compileBertEnds(ends),
    createDecodeStages,
    quickDecoder: new TokenTextDecoder({
      createStages: createDecodeStages,
      textOf: (token) => wordPieceText(decoder, token, 1),
      textOfBytes: () => "",
    }),
  });
}

function repeatedToken(token: string, first: number, second: number): HeddleError {
  return new HeddleError(
    "format",
    `fromVocabTxt: a token must stand in one line only; got ${JSON.stringify(token)} in lines ${first + 1} and ${second + 1}. Check the file for damage.`,
    { token, lines: [first + 1, second + 1] },
  );
}
