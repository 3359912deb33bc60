import { describe, expect, it } from "vitest";
import { fromTokenizerJson, type Tokenizer, toTokenizerJson } from "../src/index.js";
import { goldenJson, goldenStrings, toUtf16 } from "./golden.js";

interface GoldenEncoding {
  ids: number[];
  tokens: string[];
  offsets: [number, number][];
  special: number[];
  decoded: string;
  decoded_skip_special: string;
  ids_without_special?: number[];
}

interface GoldenPair {
  a: string;
  b: string;
  ids: number[];
  tokens: string[];
  offsets: [number, number][];
  special: number[];
  type_ids: number[];
  sequence_ids: (number | null)[];
}

const strategies = {
  longest_first: "longestFirst",
  only_first: "onlyFirst",
  only_second: "onlySecond",
} as const;

interface GoldenTruncation {
  options: {
    max_length: number;
    stride?: number;
    direction?: "left" | "right";
    strategy?: keyof typeof strategies;
  };
  inputs: [string] | [string, string];
  ids?: number[];
  tokens?: string[];
  offsets?: [number, number][];
  special?: number[];
  overflowing?: number[][];
  error?: string;
}

interface GoldenPadding {
  options: { pad_id: number; length?: number; direction?: "left" | "right"; pad_to_multiple_of?: number };
  inputs: string[];
  batch: { ids: number[]; attention_mask: number[]; special: number[] }[];
}

interface GoldenFile {
  truncation?: GoldenTruncation[];
  padding?: GoldenPadding[];
  encodings: GoldenEncoding[];
  pairs: GoldenPair[];
  inputs?: string[];
}

const names = [
  "added_tokens",
  "bpe_byte_fallback",
  "bpe_bytelevel",
  "bpe_char",
  "bpe_plain",
  "bpe_split_regex",
  "unigram",
  "unigram_precompiled",
  "wordlevel",
  "wordpiece",
];

describe.each(names)("tokenizer.json golden %s", (name) => {
  const json = goldenJson<Record<string, unknown>>(`hf/${name}/tokenizer.json.gz`);
  const golden = goldenJson<GoldenFile>(`hf/${name}/encodings.json.gz`);
  const inputs = golden.inputs ?? goldenStrings;
  const tokenizer: Tokenizer = fromTokenizerJson(json);
  const cases = inputs.map((text, i) => ({ text, expected: golden.encodings[i] as GoldenEncoding }));

  it("has one golden encoding for each input", () => {
    expect(golden.encodings.length).toBe(inputs.length);
    expect(inputs.length).toBeGreaterThan(10);
  });

  it("gives the same ids and tokens", () => {
    for (const { text, expected } of cases) {
      const encoding = tokenizer.encode(text);
      expect([text, [...encoding.ids], encoding.tokens]).toEqual([text, expected.ids, expected.tokens]);
    }
  });

  it("gives the same offsets, in UTF-16 units", () => {
    for (const { text, expected } of cases) {
      expect([text, tokenizer.encode(text).offsets]).toEqual([text, toUtf16(text, expected.offsets)]);
    }
  });

  it("gives the same special-token mask", () => {
    for (const { text, expected } of cases) {
      expect([text, [...tokenizer.encode(text).specialTokensMask]]).toEqual([text, expected.special]);
    }
  });

  it("gives the same ids without offsets, with and without special tokens", () => {
    for (const { text, expected } of cases) {
      const bare = expected.ids_without_special ?? expected.ids;
      expect([text, [...tokenizer.encodeIds(text)]]).toEqual([text, expected.ids]);
      expect([text, [...tokenizer.encodeIds(text, { addSpecialTokens: false })]]).toEqual([text, bare]);
      expect(tokenizer.countTokens(text)).toBe(expected.ids.length);
    }
  });

  it("decodes the same text, whole and streamed, with and without special tokens", () => {
    for (const { text, expected } of cases) {
      for (const skipSpecialTokens of [false, true]) {
        const decoded = skipSpecialTokens ? expected.decoded_skip_special : expected.decoded;
        const stream = tokenizer.streamDecoder({ skipSpecialTokens });
        const streamed = expected.ids.map((id) => stream.push(id)).join("") + stream.flush();
        expect([text, tokenizer.decode(expected.ids, { skipSpecialTokens })]).toEqual([text, decoded]);
        expect([text, streamed]).toEqual([text, decoded]);
      }
    }
  });

  it("joins pairs the same", () => {
    for (const pair of golden.pairs) {
      const encoding = tokenizer.encode(pair.a, { pair: pair.b });
      const inB = pair.sequence_ids.map((id) => id === 1);
      const expectedA = toUtf16(
        pair.a,
        pair.offsets.map((range, i) => (inB[i] ? [0, 0] : range)),
      );
      const expectedB = toUtf16(
        pair.b,
        pair.offsets.map((range, i) => (inB[i] ? range : [0, 0])),
      );
      expect([pair.a, [...encoding.ids], encoding.tokens]).toEqual([pair.a, pair.ids, pair.tokens]);
      expect(encoding.offsets).toEqual(inB.map((isB, i) => (isB ? expectedB[i] : expectedA[i])));
      expect([...encoding.typeIds]).toEqual(pair.type_ids);
      expect([...encoding.specialTokensMask]).toEqual(pair.special);
      expect([...encoding.sequenceIds]).toEqual(pair.sequence_ids.map((id) => id ?? -1));
    }
  });

  if (golden.truncation !== undefined)
    it("truncates the same", () => {
      for (const { options, inputs, ...expected } of golden.truncation ?? []) {
        const [text, pair] = inputs;
        const { max_length: maxLength, stride = 0, direction = "right" } = options;
        const strategy = strategies[options.strategy ?? "longest_first"];
        const truncation = { maxLength, stride, direction, strategy };
        const work = () => tokenizer.encode(text, { truncation, ...(pair === undefined ? {} : { pair }) });
        if (expected.error !== undefined) {
          expect(work).toThrow("cannot make enough room");
          continue;
        }
        const encoding = work();
        expect([[...encoding.ids], encoding.tokens]).toEqual([expected.ids, expected.tokens]);
        expect(encoding.offsets).toEqual(toUtf16(text, expected.offsets ?? []));
        expect([...encoding.specialTokensMask]).toEqual(expected.special);
        // Version 0.23 stops after max_length tokens, so its windows are the beginnings (or ends) of ours.
        const bare = (ids: Iterable<number>) => [...ids].filter((id) => !tokenizer.isSpecial(id)).join(" ");
        for (const [i, ids] of (expected.overflowing ?? []).entries()) {
          expect(bare(encoding.overflowing[i]?.ids ?? [])).toContain(bare(ids));
        }
      }
    });

  if (golden.padding !== undefined)
    it("pads the same", () => {
      for (const { options, inputs, batch } of golden.padding ?? []) {
        const {
          pad_id: padId,
          length = null,
          direction = "right",
          pad_to_multiple_of: multipleOf = null,
        } = options;
        const encodings = tokenizer.encodeBatch(inputs, {
          padding: { padId, length, direction, multipleOf },
        });
        expect(encodings.map(({ ids }) => [...ids])).toEqual(batch.map(({ ids }) => ids));
        expect(encodings.map(({ attentionMask }) => [...attentionMask])).toEqual(
          batch.map((each) => each.attention_mask),
        );
        expect(encodings.map(({ specialTokensMask }) => [...specialTokensMask])).toEqual(
          batch.map(({ special }) => special),
        );
      }
    });

  it("keeps truncation and padding of a file", () => {
    const settings = {
      truncation: { direction: "Left", max_length: 8, strategy: "OnlyFirst", stride: 2 },
      padding: {
        strategy: { Fixed: 16 },
        direction: "Right",
        pad_to_multiple_of: 8,
        pad_id: 1,
        pad_type_id: 0,
        pad_token: "<|pad|>",
      },
    };
    const written = toTokenizerJson(fromTokenizerJson({ ...json, ...settings }));
    expect(JSON.parse(JSON.stringify(written))).toEqual({ ...json, ...settings });
  });

  it("writes the file that it read", () => {
    expect(JSON.parse(JSON.stringify(toTokenizerJson(tokenizer)))).toEqual(json);
  });
});
