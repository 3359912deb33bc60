import { describe, expect, it } from "vitest";
import {
  fromGgufVocabulary,
  fromSentencePiece,
  fromTokenizerJson,
  type GgufVocabulary,
  HeddleError,
  preTokenizeText,
} from "../src/index.js";
import { goldenBytes, goldenJson, goldenStrings } from "./golden.js";

interface TokenizerJson {
  added_tokens: { id: number; content: string; special: boolean }[];
  model: { vocab: Record<string, number>; merges: ([string, string] | string)[] };
}

const KINDS = ["", "normal", "unknown", "control", "userDefined", "unused", "byte"];

/** A SentencePiece golden model as a GGUF file holds it. */
function ofSentencePiece(name: string): GgufVocabulary {
  const { model } = fromSentencePiece(goldenBytes(`sentencepiece/${name}.model.gz`)).config;
  if (model.type !== "SentencePiece") throw new Error(model.type);
  return {
    model: "llama",
    pre: "default",
    tokens: model.pieces.map(({ piece }) => piece),
    scores: Float32Array.from(model.pieces, ({ score }) => score),
    types: Int32Array.from(model.pieces, ({ kind }) => KINDS.indexOf(kind)),
    ids: { bos: 1, eos: 2, unk: 0 },
    flags: { addBos: false },
  };
}

/** A Hugging Face golden tokenizer as a GGUF file holds it. */
function ofTokenizerJson(name: string, tokenOf: (token: string) => string): GgufVocabulary {
  const file = goldenJson<TokenizerJson>(`hf/${name}/tokenizer.json.gz`);
  const tokens: string[] = [];
  for (const [token, id] of Object.entries(file.model.vocab)) tokens[id] = tokenOf(token);
  const types = tokens.map(() => 1);
  for (const { id, content, special } of file.added_tokens) {
    tokens[id] = content;
    types[id] = special ? 3 : 4;
  }
  const merges = file.model.merges?.map((merge) => (typeof merge === "string" ? merge : merge.join(" ")));
  return { model: "gpt2", tokens, types, merges };
}

describe("fromGgufVocabulary", () => {
  it("gives SentencePiece's ids for a model of kind llama", () => {
    const golden = goldenJson<{ encodings: { ids: number[] }[] }>(
      "sentencepiece/bpe_identity_bf.json.gz",
    ).encodings;
    const tokenizer = fromGgufVocabulary(ofSentencePiece("bpe_identity_bf"));
    const names = tokenizer.specialTokens;
    let compared = 0;
    for (const [i, text] of goldenStrings.entries()) {
      if (names.some((name) => text.includes(name))) continue;
      expect([text, [...tokenizer.encodeIds(text)]]).toEqual([text, golden[i]?.ids]);
      compared++;
    }
    expect(compared).toBeGreaterThan(250);
  });

  it("puts BOS in front and the space behind special tokens, as llama.cpp does", () => {
    const tokenizer = fromGgufVocabulary({ ...ofSentencePiece("bpe_identity_bf"), flags: {} });
    const { tokens } = tokenizer.encode("the</s>the");
    expect(tokens[0]).toBe("<s>");
    expect(tokens.slice(1, tokens.indexOf("</s>"))).toEqual(tokens.slice(tokens.indexOf("</s>") + 1));
    expect([tokenizer.bosId, tokenizer.eosId, tokenizer.unkId]).toEqual([1, 2, 0]);
    const unprefixed = fromGgufVocabulary({
      ...ofSentencePiece("bpe_identity_bf"),
      flags: { addBos: false, addSpacePrefix: false },
    });
    expect(unprefixed.encode("the").tokens.join("")).toBe("the");
  });

  it("gives Hugging Face's ids for byte-level BPE", () => {
    const vocabulary = ofTokenizerJson("bpe_bytelevel", (token) => token);
    const tokenizer = fromGgufVocabulary({ ...vocabulary, pre: "gpt-2" });
    const twin = fromTokenizerJson(goldenJson("hf/bpe_bytelevel/tokenizer.json.gz"));
    for (const text of goldenStrings) {
      expect([text, [...tokenizer.encodeIds(text)]]).toEqual([
        text,
        [...twin.encodeIds(text, { addSpecialTokens: false })],
      ]);
      expect(tokenizer.decode(tokenizer.encodeIds(text))).toBe(text.replaceAll(/\p{Surrogate}/gu, "\ufffd"));
    }
  });

  it("gives BERT's ids for WordPiece written with phantom spaces", () => {
    const vocabulary = ofTokenizerJson("wordpiece", (token) =>
      token.startsWith("##") ? token.slice(2) : `\u2581${token}`,
    );
    const golden = fromTokenizerJson(goldenJson("hf/wordpiece/tokenizer.json.gz"));
    const idOf = (token: string) => golden.tokenToId(token) as number;
    const tokenizer = fromGgufVocabulary({
      ...vocabulary,
      model: "bert",
      ids: { bos: idOf("[CLS]"), sep: idOf("[SEP]"), unk: idOf("[UNK]"), pad: idOf("[PAD]") },
    });
    for (const text of goldenStrings) {
      expect([text, tokenizer.encode(text).tokens]).toEqual([text, golden.encode(text).tokens]);
    }
    expect(tokenizer.encode("a", { pair: "b" }).tokens).toEqual(golden.encode("a", { pair: "b" }).tokens);
  });

  it("runs a unigram model of kind t5", () => {
    const { model, normalizer } = fromSentencePiece(
      goldenBytes("sentencepiece/unigram_nmt_nfkc.model.gz"),
    ).config;
    if (model.type !== "SentencePiece" || normalizer?.type !== "SentencePiece") throw new Error(model.type);
    const golden = goldenJson<{ encodings: { ids: number[] }[] }>(
      "sentencepiece/unigram_nmt_nfkc.json.gz",
    ).encodings;
    const tokenizer = fromGgufVocabulary({
      ...ofSentencePiece("unigram_nmt_nfkc"),
      model: "t5",
      precompiledCharsmap: normalizer.precompiledCharsmap,
      flags: { addEos: false, removeExtraWhitespaces: true },
    });
    const names = tokenizer.specialTokens;
    for (const [i, text] of goldenStrings.entries()) {
      if (names.some((name) => text.includes(name))) continue;
      expect([text, [...tokenizer.encodeIds(text)]]).toEqual([text, golden[i]?.ids]);
    }
  });

  it("runs byte-pair encoding over characters for gemma4", () => {
    const bytes = Array.from(
      { length: 256 },
      (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`,
    );
    const tokenizer = fromGgufVocabulary({
      model: "gemma4",
      tokens: ["<pad>", "<bos>", "<unk>", "\u2581", "a", "b", "ab", "\u2581ab", ...bytes],
      types: [3, 3, 2, 1, 1, 1, 1, 1, ...bytes.map(() => 6)],
      merges: ["a b", "\u2581 ab"],
      ids: { bos: 1, unk: 2, pad: 0 },
    });
    const { tokens, ids } = tokenizer.encode("ab ab é");
    expect(tokens).toEqual(["<bos>", "ab", "\u2581ab", "\u2581", "<0xC3>", "<0xA9>"]);
    expect(tokenizer.decode(ids, { skipSpecialTokens: true })).toBe("ab ab é");
  });
});

describe("names of pre-tokenizers", () => {
  const vocabulary = ofTokenizerJson("bpe_bytelevel", (token) => token);
  const wordsOf = (pre: string, text: string) => {
    const tokenizer = fromGgufVocabulary({ ...vocabulary, pre, merges: [], flags: { addBos: false } });
    expect(tokenizer.decode(tokenizer.encodeIds(text))).toBe(text);
    return tokenizer.config.preTokenizer;
  };

  it.each([
    "default",
    "llama-bpe",
    "qwen2",
    "qwen35",
    "deepseek-llm",
    "deepseek-coder",
    "deepseek-v3",
    "falcon",
    "command-r",
    "gpt-2",
    "poro-chat",
    "viking",
    "tekken",
    "chameleon",
    "gpt-4o",
    "tiny_aya",
    "kimi-k2",
    "superbpe",
    "bailingmoe",
    "seed-coder",
    "afmoe",
    "exaone-moe",
    "jais-2",
    "youtu",
    "laguna",
    "roberta-bpe",
  ])("%s splits text without losing any of it", (pre) => {
    expect(wordsOf(pre, "Hello  World's 1234567 été,日本語\r\n\n\tΩé ก가 'LL x_y  ")).not.toBeNull();
  });
});

describe("words of pre-tokenizers", () => {
  const { tokens, types } = ofTokenizerJson("bpe_bytelevel", (token) => token);
  it.each([
    ["tiny_aya", "1234567 x", ["1", "234", "567", "Ġx"]],
    ["superbpe", "1234567", ["1", "234", "567"]],
    ["llama-bpe", "I'LL 1234", ["I", "'LL", "Ġ", "123", "4"]],
    ["qwen2", "12 a", ["1", "2", "Ġa"]],
    ["gpt-4o", "helloWorld's", ["hello", "World's"]],
    ["tekken", "helloWorld's", ["hello", "World", "'s"]],
    ["falcon", "a-1234", ["a", "-", "123", "4"]],
    ["deepseek-coder", "a b1\n", ["a", "Ġb", "1", "Ċ"]],
    ["laguna", "a\n\nb", ["a", "ĊĊ", "b"]],
  ])("%s", (pre, text, words) => {
    const { preTokenizer } = fromGgufVocabulary({ model: "gpt2", pre, tokens, types, merges: [] }).config;
    if (preTokenizer === null) throw new Error("no pre-tokenizer");
    expect(preTokenizeText(preTokenizer, text).map((word) => word.text)).toEqual(words);
  });
});

describe("fromGgufVocabulary refuses", () => {
  const vocabulary = ofSentencePiece("bpe_plain");
  const errorOf = (changed: Partial<GgufVocabulary>): [string, string] => {
    try {
      fromGgufVocabulary({ ...vocabulary, ...changed });
    } catch (error) {
      if (HeddleError.is(error)) return [error.code, error.message];
      throw error;
    }
    throw new Error("nothing was thrown");
  };

  it("what it does not know, by name", () => {
    expect(errorOf({ model: "rwkv" })).toMatchInlineSnapshot(`
      [
        "unsupported",
        "fromGgufVocabulary: model must be one that Heddle knows; got "rwkv". Known: llama, t5, gpt2, gemma4, bert.",
      ]
    `);
    const [code, message] = errorOf({ model: "gpt2", pre: "klingon", merges: [] });
    expect([code, message.slice(0, 96)]).toMatchInlineSnapshot(`
      [
        "unsupported",
        "fromGgufVocabulary: pre must be a pre-tokenizer that Heddle knows; got "klingon". Known: llama3,",
      ]
    `);
  });

  it("missing and malformed fields", () => {
    expect(errorOf({ scores: undefined })).toMatchInlineSnapshot(`
      [
        "format",
        "fromGgufVocabulary: scores must be given for llama; got none. Read tokenizer.ggml.scores from the file.",
      ]
    `);
    expect(errorOf({ scores: [1, 2] })).toMatchInlineSnapshot(`
      [
        "format",
        "fromGgufVocabulary: scores must have one entry for each token; got 2 scores, 700 tokens. Check the file for damage.",
      ]
    `);
    expect(errorOf({ types: vocabulary.tokens.map(() => 9) })).toMatchInlineSnapshot(`
      [
        "format",
        "fromGgufVocabulary: types[0] must be from 0 to 6; got 9 for token "<unk>". Check the file for damage.",
      ]
    `);
    expect(errorOf({ model: "gpt2", pre: "gpt-2" })).toMatchInlineSnapshot(`
      [
        "format",
        "fromGgufVocabulary: merges must be given for gpt2; got none. Read tokenizer.ggml.merges from the file.",
      ]
    `);
    expect(errorOf({ model: "gpt2", pre: "gpt-2", merges: ["ab"] })).toMatchInlineSnapshot(`
      [
        "format",
        "fromGgufVocabulary: merges[0] must be two tokens with a space between; got "ab". Check the file for damage.",
      ]
    `);
    expect(errorOf({ ids: { bos: 4000 } })).toMatchInlineSnapshot(`
      [
        "format",
        "fromGgufVocabulary: ids.bos must be below the number of tokens; got 4000, 700 tokens. Leave it out or correct the file.",
      ]
    `);
    expect(errorOf({ tokens: [], scores: [], types: [] })).toMatchInlineSnapshot(`
      [
        "format",
        "fromGgufVocabulary: tokens must be given for any model; got none. Read tokenizer.ggml.tokens from the file.",
      ]
    `);
  });
});
