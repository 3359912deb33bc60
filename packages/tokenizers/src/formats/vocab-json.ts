import { ByteLevelDecoder, createByteLevelStage } from "../decoders/byte-level.js";
import { compileBpe, PLAIN_BPE } from "../models/bpe.js";
import type { BpeModel } from "../models/bpe-model.js";
import { assembleTokenizer } from "../pipeline.js";
import { withPrefix } from "../pre-tokenizers/metaspace.js";
import { scannedBytes } from "../pre-tokenizers/scanned.js";
import { createGpt2Scanner } from "../pre-tokenizers/scanners/gpt2.js";
import { missingToken, plainSpecialToken } from "../special-token.js";
import type { Tokenizer, TokenizerConfig, TokenRoles } from "../tokenizer.js";
import { readMerges, readVocab } from "./bpe-fields.js";
import { createFieldChecks, type FieldChecks } from "./field-checks.js";
import { parseJson } from "./parse-json.js";

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
  const entries = readVocab(parseJson("fromVocabJson", "vocab.json", vocab), checks);
  const ids = new Map(entries);
  const end = ids.has(END_OF_TEXT) ? END_OF_TEXT : undefined;
  const { addPrefixSpace = false, specialTokens = end === undefined ? [] : [end] } = options;
  const byteLevel = { type: "ByteLevel", addPrefixSpace, trimOffsets: false, useRegex: true } as const;
  const model: BpeModel = {
    ...PLAIN_BPE,
    vocab: entries,
    merges: readMerges(
      merges.split(/\r?\n/).filter((line, i) => line !== "" && !isHeader(line, i)),
      checks,
    ),
  };
  const config: TokenizerConfig = {
    normalizer: null,
    preTokenizer: byteLevel,
    model,
    postProcessor: byteLevel,
    decoder: byteLevel,
    addedTokens: specialTokens.map((token) => {
      const id = ids.get(token);
      if (id === undefined) throw missingToken("fromVocabJson", token, ids.size);
      return plainSpecialToken(token, id);
    }),
    roles: { bos: end, eos: end, unk: end, ...options.roles },
  };
  return assembleTokenizer(config, {
    normalizer: null,
    preTokenizer: scannedBytes(
      createGpt2Scanner(),
      addPrefixSpace ? (piece) => withPrefix(piece, " ") : null,
    ),
    model: compileBpe(model),
    createDecodeStages: () => [createByteLevelStage()],
    quickDecoder: new ByteLevelDecoder(),
  });
}

const checks: FieldChecks = createFieldChecks("fromVocabJson");
const END_OF_TEXT = "<|endoftext|>";

function isHeader(line: string, index: number): boolean {
  return index === 0 && line.startsWith("#version");
}
