import { HeddleError } from "../error.js";
import type { BpeModel } from "../models/bpe-model.js";
import type { PieceKind, SentencePieceModel } from "../models/sentencepiece-pieces.js";
import type { PreTokenizer } from "../pre-tokenizers/kinds.js";
import type { Tokenizer } from "../tokenizer.js";
import type { GgufVocabulary } from "./gguf.js";
import { ggufPreTokenizer, ggufPreTokenizerNames } from "./gguf-pre-tokenizers.js";

const typeOfKind: Readonly<Record<PieceKind, number>> = {
  normal: 1,
  unknown: 2,
  control: 3,
  userDefined: 4,
  unused: 5,
  byte: 6,
};

/**
 * Gives the `tokenizer.ggml.*` fields of a tokenizer, for a GGUF file: the reverse of `fromGgufVocabulary`.
 *
 * Byte-level BPE becomes "gpt2" with llama.cpp's name for its split into words, SentencePiece "llama" or "t5".
 * @param options.pre  name of the split, where it cannot be found out
 * @throws HeddleError "unsupported" for a tokenizer that GGUF cannot hold
 */
export function toGgufVocabulary(
  tokenizer: Tokenizer,
  options: { readonly pre?: string } = {},
): GgufVocabulary {
  const { model, decoder } = tokenizer.config;
  if (model.type === "SentencePiece") return ofPieces(tokenizer, model);
  if (model.type === "BPE" && decoder?.type === "ByteLevel") return ofByteLevelBpe(tokenizer, model, options);
  throw cannotHold(`model ${model.type} with decoder ${decoder?.type ?? "none"}`);
}

function cannotHold(got: string): HeddleError {
  const message = `toGgufVocabulary: the tokenizer must be byte-level BPE or a SentencePiece model; got ${got}. Leave the tokenizer out of the file.`;
  return new HeddleError("unsupported", message, { got });
}

function idsOf({ bosId: bos, eosId: eos, padId: pad, unkId: unk }: Tokenizer) {
  return { bos, eos, pad, unk };
}

/** Whether BOS and EOS are put around a text. */
function framing(tokenizer: Tokenizer) {
  const ids = tokenizer.encodeIds("a");
  return {
    addBos: tokenizer.bosId !== undefined && ids[0] === tokenizer.bosId,
    addEos: tokenizer.eosId !== undefined && ids.length > 1 && ids.at(-1) === tokenizer.eosId,
  };
}

function ofPieces(tokenizer: Tokenizer, model: SentencePieceModel): GgufVocabulary {
  const { normalizer } = tokenizer.config;
  const isFitting = model.algorithm === "bpe" || model.algorithm === "unigram";
  if (!isFitting || normalizer?.type !== "SentencePiece" || normalizer.treatWhitespaceAsSuffix) {
    throw cannotHold(`a SentencePiece model of algorithm ${model.algorithm}`);
  }
  return {
    model: model.algorithm === "bpe" ? "llama" : "t5",
    pre: "default",
    tokens: model.pieces.map(({ piece }) => piece),
    scores: Float32Array.from(model.pieces, ({ score }) => score),
    types: Int32Array.from(model.pieces, ({ kind }) => typeOfKind[kind]),
    ...(normalizer.precompiledCharsmap.length > 0
      ? { precompiledCharsmap: normalizer.precompiledCharsmap }
      : {}),
    ids: idsOf(tokenizer),
    flags: {
      ...framing(tokenizer),
      addSpacePrefix: normalizer.addDummyPrefix,
      removeExtraWhitespaces: normalizer.removeExtraWhitespaces,
    },
  };
}

function ofByteLevelBpe(
  tokenizer: Tokenizer,
  model: BpeModel,
  { pre }: { readonly pre?: string },
): GgufVocabulary {
  if (tokenizer.config.normalizer !== null && tokenizer.config.normalizer.type !== "NFC") {
    throw cannotHold(`a normalizer of type ${tokenizer.config.normalizer.type}`);
  }
  const special = new Map(tokenizer.config.addedTokens.map((token) => [token.id, token.special ? 3 : 4]));
  const tokens: string[] = [];
  const types: number[] = [];
  for (let id = 0; id < tokenizer.idLimit; id++) {
    const token = tokenizer.idToToken(id);
    tokens.push(token ?? `[PAD${id}]`);
    types.push(token === undefined ? typeOfKind.unused : (special.get(id) ?? typeOfKind.normal));
  }
  return {
    model: "gpt2",
    pre: pre ?? nameOfSplit(tokenizer.config.preTokenizer, model.ignoreMerges),
    tokens,
    types: Int32Array.from(types),
    merges: model.merges.map((pair) => pair.join(" ")),
    ids: idsOf(tokenizer),
    flags: framing(tokenizer),
  };
}

/** llama.cpp's name for a split into words. */
function nameOfSplit(preTokenizer: PreTokenizer | null, ignoreMerges: boolean): string {
  const patterns = preTokenizer === null ? [] : patternsOf(preTokenizer);
  const key = patterns.map(plain).join("\n");
  const found = ggufPreTokenizerNames().find((name) => {
    const rule = ggufPreTokenizer(name);
    return (
      rule?.patterns.map(plain).join("\n") === key &&
      (rule.ignoreMerges ?? false) === ignoreMerges &&
      !rule.addsSep
    );
  });
  if (found !== undefined) return found;
  const message = `toGgufVocabulary: the split into words must be one that llama.cpp names; got ${JSON.stringify(patterns)}. Pass its name as \`pre\` if there is one.`;
  throw new HeddleError("unsupported", message, { patterns });
}

/** What is left over between matches becomes words anyway: a last alternative for it changes nothing. */
function plain(pattern: string): string {
  return pattern.replace(/\|\\s\+$/, "");
}

const gpt2Pattern = (): string => ggufPreTokenizer("gpt-2")?.patterns[0] ?? "";

function patternsOf(preTokenizer: PreTokenizer): readonly string[] {
  switch (preTokenizer.type) {
    case "Sequence":
      return preTokenizer.pretokenizers.flatMap(patternsOf);
    case "ByteLevel":
      return preTokenizer.useRegex ? [gpt2Pattern()] : [];
    case "Digits":
      return [preTokenizer.individualDigits ? "\\p{N}" : "\\p{N}+"];
    case "Split":
      return [
        preTokenizer.pattern.type === "Regex" ? preTokenizer.pattern.source : preTokenizer.pattern.text,
      ];
    default:
      throw cannotHold(`a pre-tokenizer of type ${preTokenizer.type}`);
  }
}
