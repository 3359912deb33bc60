import type { AddedToken } from "../added-tokens.js";
import { createTokenizer } from "../create-tokenizer.js";
import { HeddleError } from "../error.js";
import { PLAIN_BPE } from "../models/bpe.js";
import type { Piece, PieceKind } from "../models/sentencepiece-pieces.js";
import type { PostProcessor } from "../post-processors/post-processor.js";
import type { TemplatePiece, TemplateToken } from "../post-processors/template.js";
import { plainSpecialToken } from "../special-token.js";
import type { Tokenizer, TokenizerConfig, TokenRoles } from "../tokenizer.js";
import {
  type GgufPreTokenizer,
  ggufPreTokenizer,
  ggufPreTokenizerNames,
  splitsOf,
} from "./gguf-pre-tokenizers.js";
import { tokenizerOfFile } from "./sentencepiece.js";

/** The `tokenizer.ggml.*` fields of a GGUF file, read by the caller. */
export interface GgufVocabulary {
  /** `model`: "llama" (SentencePiece BPE), "gpt2" (byte-level BPE), "gemma4", "bert" (WordPiece) or "t5" (unigram). */
  readonly model: string;
  /** `pre`: llama.cpp's name for the split into words; for "gpt2" only. Default "default". */
  readonly pre?: string | undefined;
  /** `tokens`: the index is the id. */
  readonly tokens: readonly string[];
  /** `scores`: one for each token; "llama" and "t5" need them. */
  readonly scores?: ArrayLike<number> | undefined;
  /** `token_type`: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte. Default all normal. */
  readonly types?: ArrayLike<number> | undefined;
  /** `merges`: two tokens and a space between; "gpt2" and "gemma4" need them. */
  readonly merges?: readonly string[] | undefined;
  /** `precompiled_charsmap`, for "t5". */
  readonly precompiledCharsmap?: Uint8Array | undefined;
  /** `bos_token_id` and so on. */
  readonly ids?: GgufTokenIds | undefined;
  readonly flags?: GgufVocabularyFlags | undefined;
}

/** Ids of tokens with a role. "bert" takes `cls` for `bos`, as llama.cpp does. */
export interface GgufTokenIds {
  readonly bos?: number | undefined;
  readonly eos?: number | undefined;
  readonly unk?: number | undefined;
  readonly sep?: number | undefined;
  readonly pad?: number | undefined;
  readonly cls?: number | undefined;
  readonly mask?: number | undefined;
}

/** Switches of the file; each has llama.cpp's default for its model. */
export interface GgufVocabularyFlags {
  /** `add_bos_token` */
  readonly addBos?: boolean | undefined;
  /** `add_eos_token` */
  readonly addEos?: boolean | undefined;
  /** `add_sep_token` */
  readonly addSep?: boolean | undefined;
  /** `add_space_prefix` */
  readonly addSpacePrefix?: boolean | undefined;
  /** `remove_extra_whitespaces` */
  readonly removeExtraWhitespaces?: boolean | undefined;
  /** "bert" only; the file does not say it. Default true. */
  readonly lowercase?: boolean | undefined;
}

/**
 * Builds the tokenizer of a GGUF file from its `tokenizer.ggml.*` fields.
 *
 * Ids are those of llama.cpp with special tokens parsed. Tokens of type control, unknown and user-defined are found in
 * text; control tokens are special, and with `parseSpecialTokens: false` they stay text.
 *
 * @throws HeddleError "unsupported" naming a model or pre-tokenizer that Heddle does not know, "format" naming a missing
 *   or malformed field
 * @see https://github.com/ggml-org/ggml/blob/master/docs/gguf.md; llama.cpp, src/llama-vocab.cpp
 * Differs from llama.cpp: WordPiece gives up on words of more than 100 characters, as BERT does; where special tokens
 * overlap in the text the leftmost wins, then the longest.
 */
export function fromGgufVocabulary(vocabulary: GgufVocabulary): Tokenizer {
  checkLengths(vocabulary);
  switch (vocabulary.model) {
    case "llama":
      return fromPieces(vocabulary, "bpe");
    case "t5":
      return fromPieces(vocabulary, "unigram");
    case "gpt2":
      return fromByteLevelBpe(vocabulary);
    case "gemma4":
      return fromSpacedBpe(vocabulary);
    case "bert":
      return fromPhantomWordPiece(vocabulary);
    default:
      throw new HeddleError(
        "unsupported",
        `fromGgufVocabulary: model must be one that Heddle knows; got ${JSON.stringify(vocabulary.model)}. Known: llama, t5, gpt2, gemma4, bert.`,
        { model: vocabulary.model },
      );
  }
}

function checkLengths({ tokens, scores, types }: GgufVocabulary): void {
  for (const [name, list] of [["scores", scores] as const, ["types", types] as const]) {
    if (list !== undefined && list.length !== tokens.length) {
      throw new HeddleError(
        "format",
        `fromGgufVocabulary: ${name} must have one entry for each token; got ${list.length} ${name}, ${tokens.length} tokens. Check the file for damage.`,
        { field: name, length: list.length, tokens: tokens.length },
      );
    }
  }
  if (tokens.length === 0) throw missing("tokens", "any model");
}

const KINDS: readonly (PieceKind | undefined)[] = [
  undefined,
  "normal",
  "unknown",
  "control",
  "userDefined",
  "unused",
  "byte",
];

/** Kind of each token. An undefined type (0) is a normal token to us. */
function kindsOf({ tokens, types }: GgufVocabulary): PieceKind[] {
  return tokens.map((token, id) => {
    const type = types?.[id] ?? 1;
    const kind = type === 0 ? "normal" : KINDS[type];
    if (kind !== undefined) return kind;
    throw new HeddleError(
      "format",
      `fromGgufVocabulary: types[${id}] must be from 0 to 6; got ${type} for token ${JSON.stringify(token)}. Check the file for damage.`,
      { id, type, token },
    );
  });
}

function missing(field: string, model: string): HeddleError {
  return new HeddleError(
    "format",
    `fromGgufVocabulary: ${field} must be given for ${model}; got none. Read tokenizer.ggml.${field} from the file.`,
    { field },
  );
}

/** A role's token; undefined where the role has none. */
function tokenOf(vocabulary: GgufVocabulary, role: keyof GgufTokenIds, fallback?: number) {
  const id = vocabulary.ids?.[role] ?? fallback;
  if (id === undefined) return undefined;
  const token = vocabulary.tokens[id];
  if (token !== undefined) return token;
  if (vocabulary.ids?.[role] === undefined) return undefined;
  throw new HeddleError(
    "format",
    `fromGgufVocabulary: ids.${role} must be below the number of tokens; got ${id}, ${vocabulary.tokens.length} tokens. Leave it out or correct the file.`,
    { role, id, tokens: vocabulary.tokens.length },
  );
}

function rolesOf(vocabulary: GgufVocabulary, defaults: GgufTokenIds): TokenRoles {
  const role = (name: "bos" | "eos" | "unk" | "pad") => {
    const token = tokenOf(vocabulary, name, defaults[name]);
    return token === undefined ? {} : { [name]: token };
  };
  return { ...role("bos"), ...role("eos"), ...role("unk"), ...role("pad") };
}

/** Tokens that are looked for in the text as it stands. */
function addedTokensOf({ tokens }: GgufVocabulary, kinds: readonly PieceKind[]): AddedToken[] {
  const added: AddedToken[] = [];
  for (const [id, kind] of kinds.entries()) {
    if (kind !== "control" && kind !== "userDefined" && kind !== "unknown") continue;
    added.push({ ...plainSpecialToken(tokens[id] as string, id), special: kind !== "userDefined" });
  }
  return added;
}

/** SentencePiece models: "llama" merges by score, "t5" is a unigram model. */
function fromPieces(vocabulary: GgufVocabulary, algorithm: "bpe" | "unigram"): Tokenizer {
  const { tokens, scores, flags = {}, precompiledCharsmap = new Uint8Array(0) } = vocabulary;
  if (scores === undefined) throw missing("scores", vocabulary.model);
  const kinds = kindsOf(vocabulary);
  const isBpe = algorithm === "bpe";
  // llama.cpp finds user-defined symbols before the text is normalised, and merges into any token.
  const isNormal = (kind: PieceKind) => isBpe && (kind === "userDefined" || kind === "unused");
  const pieces: Piece[] = tokens.map((piece, id) => {
    const kind = kinds[id] as PieceKind;
    return { piece, score: Math.fround(scores[id] as number), kind: isNormal(kind) ? "normal" : kind };
  });
  const roles = rolesOf(vocabulary, isBpe ? { bos: 1, eos: 2, unk: 0 } : { eos: 1, unk: 2, pad: 0 });
  const unkId = roles.unk === undefined ? 0 : tokens.indexOf(roles.unk);
  return tokenizerOfFile(
    {
      pieces: pieces.map((piece, id) => (id === unkId ? { ...piece, kind: "unknown" } : piece)),
      algorithm,
      byteFallback: isBpe || kinds.includes("byte"),
      treatWhitespaceAsSuffix: false,
      unkSurface: " \u2047 ",
      unkPiece: tokens[unkId] as string,
      bosPiece: roles.bos ?? "",
      eosPiece: roles.eos ?? "",
      padPiece: roles.pad ?? "",
      precompiledCharsmap,
      addDummyPrefix: flags.addSpacePrefix ?? true,
      removeExtraWhitespaces: flags.removeExtraWhitespaces ?? false,
      escapeWhitespaces: true,
    },
    {
      addBosToken: (flags.addBos ?? isBpe) && roles.bos !== undefined,
      addEosToken: (flags.addEos ?? !isBpe) && roles.eos !== undefined,
      parseControlPieces: true,
      addedTokens: addedTokensOf(vocabulary, kinds),
      roles,
    },
  );
}

function requirePreTokenizer(name: string): GgufPreTokenizer {
  const rule = ggufPreTokenizer(name);
  if (rule !== undefined) return rule;
  throw new HeddleError(
    "unsupported",
    `fromGgufVocabulary: pre must be a pre-tokenizer that Heddle knows; got ${JSON.stringify(name)}. Known: ${ggufPreTokenizerNames().join(", ")}.`,
    { pre: name },
  );
}

function mergesOf({ merges, model }: GgufVocabulary): (readonly [string, string])[] {
  if (merges === undefined) throw missing("merges", model);
  return merges.map((merge, rank) => {
    const space = merge.indexOf(" ", 1);
    if (space > 0 && space < merge.length - 1) return [merge.slice(0, space), merge.slice(space + 1)];
    throw new HeddleError(
      "format",
      `fromGgufVocabulary: merges[${rank}] must be two tokens with a space between; got ${JSON.stringify(merge)}. Check the file for damage.`,
      { rank, merge },
    );
  });
}

function vocabOf({ tokens }: GgufVocabulary): (readonly [string, number])[] {
  return tokens.map((token, id) => [token, id] as const);
}

function fromByteLevelBpe(vocabulary: GgufVocabulary): Tokenizer {
  const rule = requirePreTokenizer(vocabulary.pre ?? "default");
  const bytes = { type: "ByteLevel", addPrefixSpace: false, trimOffsets: false, useRegex: false } as const;
  const spaceFirst = vocabulary.flags?.addSpacePrefix === true;
  return createTokenizer({
    normalizer: spaceFirst ? { type: "Prepend", prepend: " " } : null,
    preTokenizer: { type: "Sequence", pretokenizers: [...splitsOf(rule), bytes] },
    model: {
      ...PLAIN_BPE,
      vocab: vocabOf(vocabulary),
      merges: mergesOf(vocabulary),
      ignoreMerges: rule.ignoreMerges === true,
    },
    decoder: bytes,
    ...frameOf(vocabulary, { addsBos: rule.addsBos === true, addsSep: rule.addsSep === true }),
  });
}

/** Byte-pair encoding over characters with U+2581 for the space and bytes for unknown characters. */
function fromSpacedBpe(vocabulary: GgufVocabulary): Tokenizer {
  const rule = requirePreTokenizer("gemma4");
  const unkToken = tokenOf(vocabulary, "unk") ?? null;
  const space = { type: "String", text: " " } as const;
  const symbol = { type: "String", text: "\u2581" } as const;
  return createTokenizer({
    normalizer: { type: "Replace", pattern: space, content: symbol.text },
    preTokenizer: { type: "Sequence", pretokenizers: splitsOf(rule) },
    model: {
      ...PLAIN_BPE,
      vocab: vocabOf(vocabulary),
      merges: mergesOf(vocabulary),
      unkToken,
      fuseUnk: true,
      byteFallback: true,
    },
    decoder: {
      type: "Sequence",
      decoders: [
        { type: "Replace", pattern: symbol, content: space.text },
        { type: "ByteFallback" },
        { type: "Fuse" },
      ],
    },
    ...frameOf(vocabulary, { addsBos: true, addsSep: false }),
  });
}

/** GGUF writes the first piece of a word with U+2581 in front and inner pieces bare; BERT the other way round. */
function fromPhantomWordPiece(vocabulary: GgufVocabulary): Tokenizer {
  const { ids, flags = {} } = vocabulary;
  const bos = ids?.bos ?? ids?.cls ?? 101;
  const kinds = kindsOf(vocabulary).map((kind, id) => (id === ids?.unk ? "unknown" : kind));
  const tokens = vocabulary.tokens.map((token, id) => {
    if (kinds[id] !== "normal" && kinds[id] !== "unused") return token;
    return token.startsWith("\u2581") ? token.slice(1) : `##${token}`;
  });
  const bert: GgufVocabulary = { ...vocabulary, tokens, ids: { unk: 100, sep: 102, pad: 0, ...ids, bos } };
  const unkToken = tokenOf(bert, "unk");
  if (unkToken === undefined) throw missing("unknown_token_id", "bert");
  return createTokenizer({
    normalizer: {
      type: "BertNormalizer",
      cleanText: true,
      handleChineseChars: true,
      stripAccents: null,
      lowercase: flags.lowercase ?? true,
    },
    preTokenizer: { type: "BertPreTokenizer" },
    model: {
      type: "WordPiece",
      vocab: vocabOf(bert),
      unkToken,
      continuingSubwordPrefix: "##",
      maxInputCharsPerWord: 100,
    },
    decoder: { type: "WordPiece", prefix: "##", cleanup: true },
    ...frameOf(bert, { addsBos: true, addsSep: true }),
  });
}

/** What is put around a text, the tokens found in it, and the tokens with a role. */
function frameOf(
  vocabulary: GgufVocabulary,
  rule: { readonly addsBos: boolean; readonly addsSep: boolean },
): Pick<TokenizerConfig, "postProcessor" | "addedTokens" | "roles"> {
  const { flags = {} } = vocabulary;
  const addedTokens = addedTokensOf(vocabulary, kindsOf(vocabulary));
  const before = (flags.addBos ?? rule.addsBos) ? [tokenOf(vocabulary, "bos")] : [];
  const after = [
    ...(flags.addEos === true ? [tokenOf(vocabulary, "eos")] : []),
    ...((flags.addSep ?? rule.addsSep) ? [tokenOf(vocabulary, "sep")] : []),
  ];
  return {
    postProcessor: template(vocabulary, before.filter(isGiven), after.filter(isGiven)),
    addedTokens,
    roles: rolesOf(vocabulary, {}),
  };
}

function isGiven(token: string | undefined): token is string {
  return token !== undefined;
}

function template(
  { tokens }: GgufVocabulary,
  before: readonly string[],
  after: readonly string[],
): PostProcessor | null {
  if (before.length + after.length === 0) return null;
  const specialTokens: Record<string, TemplateToken> = {};
  for (const token of [...before, ...after])
    specialTokens[token] = { ids: [tokens.indexOf(token)], tokens: [token] };
  const special = (id: string, typeId: number): TemplatePiece => ({ type: "SpecialToken", id, typeId });
  const around = (id: "A" | "B", typeId: number, isFirst: boolean): TemplatePiece[] => [
    ...(isFirst ? before.map((token) => special(token, typeId)) : []),
    { type: "Sequence", id, typeId },
    ...after.map((token) => special(token, typeId)),
  ];
  return {
    type: "TemplateProcessing",
    single: around("A", 0, true),
    pair: [...around("A", 0, true), ...around("B", 1, after.length === 0)],
    specialTokens,
  };
}
