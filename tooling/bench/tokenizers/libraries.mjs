import { mkdtempSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cache, modelFile } from "./files.mjs";

const require = createRequire(import.meta.url);
const decode = (bytes) => new TextDecoder().decode(bytes);
const isRanks = (source) => "ranks" in source;
const isModel = (source) => "model" in source;

/**
 * The contestants. `prepare` imports the library and brings the source into the form that it wants; the function that
 * it returns loads the tokenizer, which is timed, and returns `encode(text) -> ids` without special tokens.
 */
export const libraries = {
  async heddle(source) {
    const { fromSentencePiece, fromTiktoken, fromTokenizerJson } = await import(join(cache, "heddle.js"));
    // As the others do: those for tokenizer.json find special tokens, the others read them as text.
    const plain = { addSpecialTokens: false, parseSpecialTokens: !isRanks(source) && !isModel(source) };
    return () => {
      const tokenizer = isRanks(source)
        ? fromTiktoken(source.ranks, { pattern: source.pattern, specialTokens: source.specialTokens })
        : isModel(source)
          ? fromSentencePiece(source.model)
          : fromTokenizerJson(source);
      return {
        encode: (text) => tokenizer.encodeIds(text, plain),
        encodeWithOffsets: (text) => {
          const { ids, starts, ends } = tokenizer.encode(text, plain);
          return { ids, starts, ends };
        },
        count: (text) => tokenizer.countTokens(text, plain),
        decode: (ids) => tokenizer.decode(ids),
      };
    };
  },
  async "gpt-tokenizer"(source, name) {
    if (!isRanks(source)) return null;
    return async () => {
      const module = await import(`gpt-tokenizer/encoding/${name}_base`);
      return { encode: (text) => module.encode(text) };
    };
  },
  async "ai-tokenizer"(source, name) {
    if (!isRanks(source)) return null;
    return async () => {
      const { default: Tokenizer } = await import("ai-tokenizer");
      const encodings = await import("ai-tokenizer/encoding");
      const tokenizer = new Tokenizer(encodings[`${name}_base`]);
      return { encode: (text) => tokenizer.encode(text) };
    };
  },
  async "js-tiktoken"(source, name) {
    if (!isRanks(source)) return null;
    const { Tiktoken } = await import("js-tiktoken/lite");
    const { default: ranks } = await import(`js-tiktoken/ranks/${name}_base`);
    return () => {
      const tokenizer = new Tiktoken(ranks);
      return { encode: (text) => tokenizer.encode(text, [], []) };
    };
  },
  async "tiktoken (wasm)"(source, name) {
    if (!isRanks(source)) return null;
    const { get_encoding: getEncoding } = require("tiktoken");
    return () => {
      const tokenizer = getEncoding(`${name}_base`);
      return { encode: (text) => tokenizer.encode(text, [], []) };
    };
  },
  async "kitoken (wasm)"(source) {
    const { Kitoken } = await import("kitoken/node");
    const bytes = isRanks(source) ? Buffer.from(source.ranks) : (source.model ?? source);
    return () => {
      const tokenizer = new Kitoken(bytes);
      return { encode: (text) => tokenizer.encode(text, false) };
    };
  },
  async "@huggingface/tokenizers"(source) {
    if (isRanks(source) || isModel(source)) return null;
    const { Tokenizer } = await import("@huggingface/tokenizers");
    const text = decode(source);
    return () => {
      const tokenizer = new Tokenizer(JSON.parse(text), {});
      return { encode: (each) => tokenizer.encode(each, { add_special_tokens: false }).ids };
    };
  },
  async "@anush008/tokenizers (native)"(source) {
    if (isRanks(source) || isModel(source)) return null;
    const { Tokenizer } = require("@anush008/tokenizers");
    const file = join(mkdtempSync(join(tmpdir(), "heddle-bench-")), "tokenizer.json");
    writeFileSync(file, source);
    return () => {
      const tokenizer = Tokenizer.fromFile(file);
      return {
        encode: async (text) => (await tokenizer.encode(text, null, { addSpecialTokens: false })).getIds(),
      };
    };
  },
  async "sentencepiece-js"(source) {
    if (!isModel(source)) return null;
    const packageJson = new URL("../../../packages/tokenizers/package.json", import.meta.url);
    const { SentencePieceProcessor } = createRequire(packageJson)("sentencepiece-js");
    return async () => {
      const tokenizer = new SentencePieceProcessor();
      await tokenizer.load(modelFile);
      return { encode: (text) => tokenizer.encodeIds(text) };
    };
  },
};
