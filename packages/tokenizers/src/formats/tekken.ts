import { decodeBase64 } from "../base64.js";
import { BYTE_CHARACTERS, byteLevelText } from "../byte-level.js";
import { createTokenizer } from "../create-tokenizer.js";
import { plainSpecialToken } from "../special-token.js";
import type { Tokenizer, TokenRoles } from "../tokenizer.js";
import { createFieldChecks, createUnknownFieldsCheck, type FieldChecks } from "./field-checks.js";
import { parseJson } from "./parse-json.js";

const { badField, requireArray, requireObject }: FieldChecks = createFieldChecks("fromTekken");
const refuseUnknownFields = createUnknownFieldsCheck("fromTekken");

export interface TekkenOptions {
  /** Put "<s>" in front; default false. */
  readonly addBosToken?: boolean;
  /** Default: bos "<s>", eos "</s>", unk "<unk>", pad "<pad>". */
  readonly roles?: TokenRoles;
}

/**
 * Loads Mistral's `tekken.json`: byte ranks with their pattern, behind a block of special tokens.
 *
 * id = rank + default_num_special_tokens; only the first default_vocab_size ids are used. Special tokens that the file
 * does not name are called `<SPECIAL_n>`.
 *
 * @throws HeddleError "format" naming a missing or malformed field
 * @see mistral-common, tokens/tokenizers/tekken.py
 */
export function fromTekken(text: string, options: TekkenOptions = {}): Tokenizer {
  const file = requireObject(parseJson("fromTekken", "tekken.json", text), "tekken.json");
  refuseUnknownFields(file, "tekken.json", FILE_FIELDS);
  const config = requireObject(file.config, "tekken.json config");
  refuseUnknownFields(config, "tekken.json config", CONFIG_FIELDS);
  const numSpecial = count(config, "default_num_special_tokens");
  const pattern = config.pattern;
  if (typeof pattern !== "string") throw badField("tekken.json config.pattern", "a string", pattern);
  const names = specialNames(file.special_tokens, numSpecial);
  const vocab = readRanks(file.vocab, {
    numSpecial,
    limit: count(config, "default_vocab_size") - numSpecial,
  });
  const bytes = { addPrefixSpace: false, trimOffsets: false, useRegex: false };
  const roles = { bos: "<s>", eos: "</s>", unk: "<unk>", pad: "<pad>", ...options.roles };
  const bosId = names.indexOf(roles.bos);
  return createTokenizer({
    normalizer: null,
    preTokenizer: {
      type: "Sequence",
      pretokenizers: [
        {
          type: "Split",
          pattern: { type: "Regex", source: pattern, dialect: "rust" },
          behavior: "Isolated",
          invert: false,
        },
        { type: "ByteLevel", ...bytes },
      ],
    },
    model: { type: "Tiktoken", vocab },
    postProcessor:
      options.addBosToken === true && bosId >= 0
        ? {
            type: "TemplateProcessing",
            single: [BOS, { type: "Sequence", id: "A", typeId: 0 }],
            pair: [BOS, { type: "Sequence", id: "A", typeId: 0 }, { type: "Sequence", id: "B", typeId: 1 }],
            specialTokens: { bos: { ids: [bosId], tokens: [roles.bos] } },
          }
        : null,
    decoder: { type: "ByteLevel", ...bytes },
    addedTokens: names.map(plainSpecialToken),
    roles,
  });
}

const BOS = { type: "SpecialToken", id: "bos", typeId: 0 } as const;

/** Names of the first special tokens where the file has no list of its own. */
const OLD_NAMES =
  "<unk> <s> </s> [INST] [/INST] [AVAILABLE_TOOLS] [/AVAILABLE_TOOLS] [TOOL_RESULTS] [/TOOL_RESULTS] [TOOL_CALLS] <pad> [PREFIX] [MIDDLE] [SUFFIX]".split(
    " ",
  );

function count(config: Readonly<Record<string, unknown>>, key: string): number {
  const value = config[key];
  if (typeof value === "number" && Number.isInteger(value) && value >= 0 && value < 2 ** 24) return value;
  throw badField(`tekken.json config.${key}`, "a whole number", value);
}

/** What the file says of images and sound is not about text. */
const FILE_FIELDS = ["config", "vocab", "special_tokens", "version", "type", "multimodal", "image", "audio"];
const CONFIG_FIELDS = [
  "pattern",
  "num_vocab_tokens",
  "default_vocab_size",
  "default_num_special_tokens",
  "version",
];

function specialNames(json: unknown, numSpecial: number): string[] {
  const names = Array.from({ length: numSpecial }, (_, id) => `<SPECIAL_${id}>`);
  if (json === undefined || json === null) {
    return names.map((name, id) => OLD_NAMES[id] ?? name);
  }
  for (const [i, value] of requireArray(json, "tekken.json special_tokens").entries()) {
    const entry = requireObject(value, `tekken.json special_tokens[${i}]`);
    refuseUnknownFields(entry, `tekken.json special_tokens[${i}]`, ["rank", "token_str", "is_control"]);
    const { rank, token_str: token } = entry;
    if (typeof rank !== "number" || names[rank] === undefined || typeof token !== "string") {
      throw badField(`tekken.json special_tokens[${i}]`, `a name and a rank below ${numSpecial}`, value);
    }
    names[rank] = token;
  }
  return names;
}

function readRanks(
  json: unknown,
  { numSpecial, limit }: { readonly numSpecial: number; readonly limit: number },
): (readonly [string, number])[] {
  const vocab: (readonly [string, number])[] = [];
  const tokens = new Set<string>();
  const ranks = new Set<number>();
  for (const [i, value] of requireArray(json, "tekken.json vocab").entries()) {
    const entry = requireObject(value, `tekken.json vocab[${i}]`);
    refuseUnknownFields(entry, `tekken.json vocab[${i}]`, ["rank", "token_bytes", "token_str"]);
    const { rank, token_bytes: encoded } = entry;
    if (typeof rank !== "number" || !Number.isInteger(rank) || typeof encoded !== "string") {
      throw badField(`tekken.json vocab[${i}]`, "a rank and base64 token_bytes", value);
    }
    if (rank < 0 || ranks.has(rank))
      throw badField(`tekken.json vocab[${i}].rank`, "a rank of its own, at least 0", rank);
    ranks.add(rank);
    if (rank >= limit) continue;
    const bytes = decodeBase64(encoded);
    const token = byteLevelText(bytes, bytes.length);
    if (tokens.has(token)) throw badField(`tekken.json vocab[${i}].token_bytes`, "bytes of its own", encoded);
    vocab.push([token, rank + numSpecial]);
    tokens.add(token);
  }
  const numBytes = BYTE_CHARACTERS.filter((char) => tokens.has(char)).length;
  if (numBytes !== 256) throw badField("tekken.json vocab", "a list with all 256 bytes", numBytes);
  return vocab.sort((a, b) => a[1] - b[1]);
}
