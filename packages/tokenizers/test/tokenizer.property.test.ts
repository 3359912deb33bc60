import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { alignOriginal } from "../src/aligned-text.js";
import { toByteLevel } from "../src/byte-level.js";
import { createDecodeStages } from "../src/decoders/decoder.js";
import { createStreamDecoder } from "../src/decoders/stream.js";
import {
  createTokenizer,
  fromSentencePiece,
  fromTiktoken,
  fromTokenizerJson,
  type Normalizer,
  TIKTOKEN_PATTERNS,
  type Tokenizer,
} from "../src/index.js";
import { compileNormalizer } from "../src/normalizers/normalizer.js";
import { goldenBytes, goldenJson } from "./golden.js";
import { referenceBpe } from "./reference-bpe.js";

const load = (name: string) => fromTokenizerJson(goldenJson(`hf/${name}/tokenizer.json.gz`));
const ranks = new TextDecoder().decode(goldenBytes("tiktoken/cl100k_pattern.tiktoken.gz"));
const piece = (name: string) => fromSentencePiece(goldenBytes(`sentencepiece/${name}.model.gz`));

const byteComplete: [string, Tokenizer][] = [
  ["bpe_bytelevel", load("bpe_bytelevel")],
  ["bpe_split_regex", load("bpe_split_regex")],
  ["tiktoken cl100k", fromTiktoken(ranks, { pattern: TIKTOKEN_PATTERNS.cl100k })],
  ["SentencePiece bpe_identity_bf", piece("bpe_identity_bf")],
  ["SentencePiece unigram_identity_bf", piece("unigram_identity_bf")],
];

const others: [string, Tokenizer][] = [
  ["bpe_byte_fallback", load("bpe_byte_fallback")],
  ["bpe_char", load("bpe_char")],
  ["unigram", load("unigram")],
  ["unigram_precompiled", load("unigram_precompiled")],
  ["wordpiece", load("wordpiece")],
  ["added_tokens", load("added_tokens")],
  ["SentencePiece unigram_nmt_nfkc", piece("unigram_nmt_nfkc")],
  ["SentencePiece bpe_symbols", piece("bpe_symbols")],
];

/** Words, spaces, many scripts, emoji sequences, control characters, lone surrogates. */
const anyText = fc.oneof(
  fc.string({ unit: "binary", maxLength: 60 }),
  fc.string({ unit: "grapheme", maxLength: 60 }),
  fc
    .array(
      fc.constantFrom(
        "way",
        " the",
        "  ",
        "\n",
        "\r\n",
        "don't",
        "日本",
        "é",
        "👩🏽\u200d💻",
        "\u0301",
        "\u00ad",
        "\ud800",
        "\udc00",
        "1234",
      ),
    )
    .map((parts) => parts.join("")),
);

/** Puts U+FFFD in the place of lone surrogates. */
const wellFormed = (text: string) => text.replace(/\p{Surrogate}/gu, "\ufffd");

/** U+2581 stands for a space in SentencePiece and cannot come back as itself. */
const restorable = anyText.map((text) => wellFormed(text).replaceAll("\u2581", "_"));

describe.each(byteComplete)("%s", (_name, tokenizer) => {
  it("decodes what it encoded, whatever the text", () => {
    fc.assert(
      fc.property(restorable, (text) => {
        const ids = tokenizer.encodeIds(text, { addSpecialTokens: false, parseSpecialTokens: false });
        expect(tokenizer.decode(ids)).toBe(text);
      }),
    );
  });

  it("gives every unit of the text to a token, in order", () => {
    fc.assert(
      fc.property(restorable, (text) => {
        const { starts, ends } = tokenizer.encode(text, { addSpecialTokens: false });
        let reached = 0;
        for (let i = 0; i < starts.length; i++) {
          expect(starts[i] as number).toBeLessThanOrEqual(reached);
          expect(ends[i] as number).toBeGreaterThanOrEqual(starts[i] as number);
          reached = Math.max(reached, ends[i] as number);
        }
        expect(reached).toBe(text.length);
      }),
    );
  });
});

describe.each([...byteComplete, ...others])("%s, both ways", (_name, tokenizer) => {
  it("encodes a lone surrogate like U+FFFD", () => {
    fc.assert(
      fc.property(anyText, (text) => {
        expect([...tokenizer.encodeIds(text)]).toEqual([...tokenizer.encodeIds(wellFormed(text))]);
      }),
    );
  });

  it("gives the same ids with and without offsets", () => {
    fc.assert(
      fc.property(anyText, (text) => {
        const encoding = tokenizer.encode(text);
        expect([...tokenizer.encodeIds(text)]).toEqual([...encoding.ids]);
        expect(tokenizer.countTokens(text)).toBe(encoding.length);
        expect(encoding.tokens.length).toBe(encoding.length);
      }),
    );
  });

  it("streams what it decodes, for any ids, and never half a character", () => {
    const anyIds = fc.array(fc.nat({ max: tokenizer.idLimit - 1 }), { maxLength: 40 });
    fc.assert(
      fc.property(anyIds, fc.boolean(), (candidates, skipSpecialTokens) => {
        const ids = candidates.filter((id) => tokenizer.idToToken(id) !== undefined);
        const stream = tokenizer.streamDecoder({ skipSpecialTokens });
        const parts = [...ids.map((id) => stream.push(id)), stream.flush()];
        expect(parts.join("")).toBe(tokenizer.decode(ids, { skipSpecialTokens }));
        for (const part of parts) expect(wellFormed(part) === part).toBe(true);
      }),
    );
  });

  it("decodes as its stages do", () => {
    const anyIds = fc.array(fc.nat({ max: tokenizer.idLimit - 1 }), { maxLength: 40 });
    fc.assert(
      fc.property(anyIds, (candidates) => {
        const ids = candidates.filter((id) => tokenizer.idToToken(id) !== undefined);
        const stages = createDecodeStages(tokenizer.config.decoder);
        const stream = createStreamDecoder(stages, (id) => tokenizer.idToToken(id) ?? null);
        expect(tokenizer.decode(ids)).toBe(ids.map((id) => stream.push(id)).join("") + stream.flush());
      }),
    );
  });

  it("normalises the same with and without alignment", () => {
    const { normalizer } = tokenizer.config;
    if (normalizer === null) return;
    const compiled = compileNormalizer(normalizer);
    fc.assert(
      fc.property(restorable, (text) => {
        const aligned = compiled.align(alignOriginal(text));
        expect(aligned.text).toBe(compiled.apply(text));
        for (const ends of [aligned.starts, aligned.ends]) {
          for (const unit of ends ?? []) expect(unit >= 0 && unit <= text.length).toBe(true);
        }
      }),
    );
  });
});

describe("byte-pair merging", () => {
  const tokenizer = load("bpe_bytelevel");
  const { model } = tokenizer.config;
  if (model.type !== "BPE") throw new Error(model.type);

  it("equals the definition, for short words and long ones", () => {
    const oneWord = createTokenizer({
      ...tokenizer.config,
      preTokenizer: { type: "ByteLevel", addPrefixSpace: false, useRegex: false, trimOffsets: false },
    });
    fc.assert(
      fc.property(anyText, fc.integer({ min: 1, max: 6 }), (part, times) => {
        const text = part.repeat(times);
        const expected = referenceBpe([...toByteLevel(text)], model.merges);
        expect(oneWord.encode(text).tokens).toEqual(expected);
      }),
    );
  });

  it("cuts long words without changing their tokens", () => {
    const { merges, vocab, ...rest } = model;
    const plain = createTokenizer({
      normalizer: null,
      preTokenizer: null,
      model: { ...rest, merges, vocab },
      postProcessor: null,
      decoder: null,
      addedTokens: [],
    });
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom("way", "Ġthe", "Ġ", "s", "or", "zq"), { maxLength: 60 }),
        (parts) => {
          const word = parts.join("");
          expect(plain.encode(word).tokens).toEqual(referenceBpe([...word], merges));
        },
      ),
    );
  });
});

describe("normalizers with two ways", () => {
  const all: Normalizer[] = [
    { type: "NFC" },
    { type: "NFD" },
    { type: "NFKC" },
    { type: "NFKD" },
    { type: "Lowercase" },
    { type: "Prepend", prepend: "\u2581" },
    { type: "Replace", pattern: { type: "Regex", source: "\\s{2,}" }, content: "--" },
  ];
  it.each(all)("$type gives the same text both ways", (normalizer) => {
    const compiled = compileNormalizer(normalizer);
    fc.assert(
      fc.property(anyText, (text) => {
        expect(compiled.align(alignOriginal(text)).text).toBe(compiled.apply(text));
      }),
    );
  });
});
