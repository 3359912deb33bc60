import type { AddedToken } from "../added-tokens.js";
import { HeddleError } from "../error.js";
import { createTokenizer, type Tokenizer, type TokenRoles } from "../tokenizer.js";
import { readMerges, readVocab } from "./model-json.js";

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
  return createTokenizer({
    normalizer: {
      type: "BertNormalizer",
      cleanText: true,
      handleChineseChars: true,
      stripAccents,
      lowercase,
    },
    preTokenizer: { type: "BertPreTokenizer" },
    model: {
      type: "WordPiece",
      vocab: [...ids],
      unkToken: roles.unk,
      continuingSubwordPrefix: "##",
      maxInputCharsPerWord: 100,
    },
    postProcessor: {
      type: "BertProcessing",
      cls: [roles.bos, idOf(roles.bos)],
      sep: [roles.eos, idOf(roles.eos)],
    },
    decoder: { type: "WordPiece", prefix: "##", cleanup: true },
    addedTokens: special.map((token) => specialToken(token, idOf(token))),
    roles,
  });
}

export interface VocabJsonOptions {
  /** Special tokens of the vocabulary, found in text and never cut; default GPT-2's "<|endoftext|>" if it is there. */
  readonly specialTokens?: readonly string[];
  /** Put a space in front of each text; default false. */
  readonly addPrefixSpace?: boolean;
  /** Default: "<|endoftext|>", if it is there, begins, ends and stands for unknown text. */
  readonly roles?: TokenRoles;
}

/**
 * Loads GPT-2's pair of files: `vocab.json` (token -> id) and `merges.txt` (one pair a line, in order of rank).
 *
 * @param vocab  text of vocab.json
 * @param merges  text of merges.txt; a first line that begins with "#version" is left out
 * @throws HeddleError "format" naming a malformed entry or a merge whose tokens are missing
 * @see Radford et al. 2019, Language Models are Unsupervised Multitask Learners, section 2.2
 */
export function fromVocabJson(vocab: string, merges: string, options: VocabJsonOptions = {}): Tokenizer {
  const entries = readVocab(parseJson(vocab));
  const ids = new Map(entries);
  const end = ids.has(END_OF_TEXT) ? END_OF_TEXT : undefined;
  const { addPrefixSpace = false, specialTokens = end === undefined ? [] : [end] } = options;
  const byteLevel = { type: "ByteLevel", addPrefixSpace, trimOffsets: false, useRegex: true } as const;
  return createTokenizer({
    normalizer: null,
    preTokenizer: byteLevel,
    model: {
      type: "BPE",
      vocab: entries,
      merges: readMerges(merges.split(/\r?\n/).filter((line, i) => line !== "" && !isHeader(line, i))),
      unkToken: null,
      continuingSubwordPrefix: null,
      endOfWordSuffix: null,
      fuseUnk: false,
      byteFallback: false,
      ignoreMerges: false,
    },
    postProcessor: byteLevel,
    decoder: byteLevel,
    addedTokens: specialTokens.map((token) => {
      const id = ids.get(token);
      if (id === undefined) throw missingToken("fromVocabJson", token, ids.size);
      return specialToken(token, id);
    }),
    roles: { bos: end, eos: end, unk: end, ...options.roles },
  });
}

const END_OF_TEXT = "<|endoftext|>";

function isHeader(line: string, index: number): boolean {
  return index === 0 && line.startsWith("#version");
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new HeddleError(
      "format",
      `fromVocabJson: vocab.json must be JSON; got ${text.length} characters that are not (${(cause as Error).message}). Check the file for truncation.`,
      { length: text.length },
      cause,
    );
  }
}

function repeatedToken(token: string, first: number, second: number): HeddleError {
  return new HeddleError(
    "format",
    `fromVocabTxt: a token must stand in one line only; got ${JSON.stringify(token)} in lines ${first + 1} and ${second + 1}. Check the file for damage.`,
    { token, lines: [first + 1, second + 1] },
  );
}

function missingToken(caller: string, token: string, size: number): HeddleError {
  return new HeddleError(
    "format",
    `${caller}: a special token must be in the vocabulary; got ${JSON.stringify(token)}, vocabulary of ${size} tokens. Name the right tokens in the options or check the file.`,
    { token, size },
  );
}

/** A special token of the plain kind. */
export function specialToken(content: string, id: number): AddedToken {
  return { id, content, singleWord: false, lstrip: false, rstrip: false, normalized: false, special: true };
}
