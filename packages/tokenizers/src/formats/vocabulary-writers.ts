import { encodeBase64 } from "../base64.js";
import { fromByteLevel } from "../byte-level.js";
import { HeddleError } from "../error.js";
import type { Model } from "../models/model.js";
import type { Tokenizer } from "../tokenizer.js";

/**
 * Writes a tiktoken rank file: one `base64 rank` a line, ranks ascending. Special tokens are not part of such a file.
 *
 * @throws HeddleError "unsupported" for models of another kind
 */
export function toTiktoken(tokenizer: Tokenizer): string {
  const { vocab } = requireModel("toTiktoken", tokenizer, "Tiktoken");
  return vocab.map(([token, rank]) => `${encodeBase64(bytesOf("toTiktoken", token))} ${rank}\n`).join("");
}

/**
 * Writes BERT's `vocab.txt`: one token a line, the line's number being the id.
 *
 * @throws HeddleError "unsupported" for models of another kind, "config" if ids have gaps or a token holds a line break
 */
export function toVocabTxt(tokenizer: Tokenizer): string {
  const { vocab } = requireModel("toVocabTxt", tokenizer, "WordPiece");
  for (const [i, [token, id]] of vocab.entries()) {
    if (id === i && !/[\r\n]/.test(token)) continue;
    throw new HeddleError(
      "config",
      `toVocabTxt: ids must be the numbers of lines and tokens hold no line break; got token ${JSON.stringify(token)}, id ${id}, line ${i}. Write it with toTokenizerJson.`,
      { token, id, line: i },
    );
  }
  return vocab.map(([token]) => `${token}\n`).join("");
}

/** GPT-2's pair of files. */
export interface VocabJsonFiles {
  readonly "vocab.json": string;
  readonly "merges.txt": string;
}

/**
 * Writes `vocab.json` and `merges.txt` of a byte-pair model.
 *
 * @throws HeddleError "unsupported" for models of another kind and for tokens that hold a space or line break
 */
export function toVocabJson(tokenizer: Tokenizer): VocabJsonFiles {
  const { vocab, merges } = requireModel("toVocabJson", tokenizer, "BPE");
  const lines = merges.map(([left, right]) => {
    if (!/\s/.test(left + right)) return `${left} ${right}\n`;
    throw new HeddleError(
      "unsupported",
      `toVocabJson: merges.txt divides tokens by a space; got merge ${JSON.stringify([left, right])}. Write it with toTokenizerJson.`,
      { left, right },
    );
  });
  return {
    "vocab.json": `${JSON.stringify(Object.fromEntries(vocab))}\n`,
    "merges.txt": `#version: 0.2\n${lines.join("")}`,
  };
}

/**
 * Writes Mistral's `tekken.json` for a tokenizer that was read from one: ranks behind a block of special tokens.
 *
 * @throws HeddleError "unsupported" for tokenizers of another make
 */
export function toTekken(tokenizer: Tokenizer): string {
  const { vocab } = requireModel("toTekken", tokenizer, "Tiktoken");
  const { preTokenizer, addedTokens } = tokenizer.config;
  const split = preTokenizer?.type === "Sequence" ? preTokenizer.pretokenizers[0] : preTokenizer;
  const pattern = split?.type === "Split" && split.pattern.type === "Regex" ? split.pattern.source : null;
  const numSpecial = vocab[0]?.[1] ?? 0;
  const isBlock = addedTokens.length === numSpecial && addedTokens.every(({ id }, i) => id === i);
  if (pattern === null || !isBlock) {
    throw new HeddleError(
      "unsupported",
      `toTekken: special tokens must fill the ids below the ranks and a pattern must cut words; got ${addedTokens.length} special tokens, first rank at id ${numSpecial}, pattern ${JSON.stringify(pattern)}. Write ranks with toTiktoken.`,
      { specialTokens: addedTokens.length, numSpecial, pattern },
    );
  }
  return JSON.stringify({
    config: {
      pattern,
      num_vocab_tokens: vocab.length,
      default_vocab_size: vocab.length + numSpecial,
      default_num_special_tokens: numSpecial,
      version: "v7",
    },
    vocab: vocab.map(([token, id]) => ({
      rank: id - numSpecial,
      token_bytes: encodeBase64(bytesOf("toTekken", token)),
      token_str: textOf(token),
    })),
    special_tokens: addedTokens.map(({ id, content }) => ({
      rank: id,
      token_str: content,
      is_control: true,
    })),
  });
}

/** The text of a token; null if its bytes are none. */
function textOf(token: string): string | null {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytesOf("toTekken", token));
  } catch {
    return null;
  }
}

function bytesOf(caller: string, token: string): Uint8Array {
  const bytes = fromByteLevel(token);
  if (bytes !== null) return bytes;
  throw new HeddleError(
    "format",
    `${caller}: tokens must be written in the byte alphabet; got ${JSON.stringify(token)}. Write the tokenizer with toTokenizerJson.`,
    { token },
  );
}

function requireModel<Type extends Model["type"]>(
  caller: string,
  tokenizer: Tokenizer,
  type: Type,
): Extract<Model, { type: Type }> {
  const { model } = tokenizer.config;
  if (isOfType(model, type)) return model;
  throw new HeddleError(
    "unsupported",
    `${caller}: the model must be of type ${type}; got ${model.type}. Write it with toTokenizerJson or toSentencePiece.`,
    { expected: type, type: model.type },
  );
}

function isOfType<Type extends Model["type"]>(
  model: Model,
  type: Type,
): model is Extract<Model, { type: Type }> {
  return model.type === type;
}
