import { describe, expect, it } from "vitest";
import { fromSentencePiece, normalizeText } from "../src/index.js";
import { goldenBytes, goldenJson, goldenStrings } from "./golden.js";

interface GoldenFile {
  encodings: { ids: number[]; pieces: string[]; decoded: string }[];
  add_bos_eos: { input: string; ids: number[] }[];
  normalized: string[];
  offsets: { input: string; begin: number[]; end: number[]; surface: string[] }[];
  vocab: [string, number][];
}

const names = [
  "bpe_identity_bf",
  "bpe_plain",
  "bpe_symbols",
  "char_identity",
  "unigram_identity_bf",
  "unigram_nmt_nfkc",
  "word_identity",
];

describe.each(names)("SentencePiece golden %s", (name) => {
  const bytes = goldenBytes(`sentencepiece/${name}.model.gz`);
  const golden = goldenJson<GoldenFile>(`sentencepiece/${name}.json.gz`);
  const tokenizer = fromSentencePiece(bytes);

  it("reads the same vocabulary and scores", () => {
    const { model } = tokenizer.config;
    if (model.type !== "SentencePiece") throw new Error(model.type);
    expect(model.pieces.map(({ piece, score }) => [piece, score])).toEqual(golden.vocab);
  });

  it("normalises the same", () => {
    const { normalizer } = tokenizer.config;
    if (normalizer === null) throw new Error("no normalizer");
    expect(goldenStrings.map((text) => normalizeText(normalizer, text))).toEqual(golden.normalized);
  });

  it("gives the same ids and pieces", () => {
    for (const [i, text] of goldenStrings.entries()) {
      const encoding = tokenizer.encode(text);
      const expected = golden.encodings[i];
      expect([text, [...encoding.ids], encoding.tokens]).toEqual([text, expected?.ids, expected?.pieces]);
      expect([text, [...tokenizer.encodeIds(text)]]).toEqual([text, expected?.ids]);
    }
  });

  it("gives the same offsets", () => {
    expect(golden.offsets.length).toBeGreaterThan(10);
    for (const { input, begin, end, surface } of golden.offsets) {
      const { offsets, byteOffsets } = tokenizer.encode(input);
      expect([input, byteOffsets]).toEqual([input, begin.map((from, k) => [from, end[k]])]);
      expect(offsets.map(([from, to]) => input.slice(from, to))).toEqual(surface);
    }
  });

  it("decodes the same, whole and streamed", () => {
    for (const [i, text] of goldenStrings.entries()) {
      const { ids = [], decoded } = golden.encodings[i] ?? {};
      const stream = tokenizer.streamDecoder();
      const streamed = ids.map((id) => stream.push(id)).join("") + stream.flush();
      expect([text, tokenizer.decode(ids)]).toEqual([text, decoded]);
      expect([text, streamed]).toEqual([text, decoded]);
    }
  });

  it("adds BOS and EOS the same", () => {
    const framed = fromSentencePiece(bytes, { addBosToken: true, addEosToken: true });
    for (const { input, ids } of golden.add_bos_eos) expect([...framed.encodeIds(input)]).toEqual(ids);
  });
});
