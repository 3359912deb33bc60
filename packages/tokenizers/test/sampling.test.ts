import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  createNBestEncoder,
  createSamplingTokenizer,
  createTokenizer,
  fromSentencePiece,
  fromTokenizerJson,
} from "../src/index.js";
import { goldenBytes, goldenJson, goldenStrings } from "./golden.js";

interface GoldenNBest {
  nbest5: { input: string; nbest: { ids: number[]; score: number }[] }[];
}

const sentencePiece = (name: string) => fromSentencePiece(goldenBytes(`sentencepiece/${name}.model.gz`));
const huggingFace = (name: string) => fromTokenizerJson(goldenJson<object>(`hf/${name}/tokenizer.json.gz`));

/** Two pieces that make "ab" in two ways. */
const tiny = createTokenizer({
  normalizer: null,
  preTokenizer: null,
  model: {
    type: "Unigram",
    vocab: [
      ["<unk>", 0],
      ["a", Math.log(0.5)],
      ["b", Math.log(0.4)],
      ["ab", Math.log(0.1)],
    ] as const,
    unkId: 0,
    byteFallback: false,
  },
  postProcessor: null,
  decoder: { type: "Fuse" },
  addedTokens: [],
});

describe("n best segmentations", () => {
  it.each(["unigram_nmt_nfkc", "unigram_identity_bf"])("are those of SentencePiece: %s", (name) => {
    const nBest = createNBestEncoder(sentencePiece(name).config);
    const { nbest5 } = goldenJson<GoldenNBest>(`sentencepiece/${name}.json.gz`);
    expect(nbest5.length).toBeGreaterThan(5);
    for (const { input, nbest } of nbest5) {
      const found = nBest(input, 5);
      // Equally good ones may come in either order.
      const listed = (all: readonly { ids: ArrayLike<number> }[]) =>
        all.map(({ ids }) => Array.from(ids).join()).sort();
      expect([input, listed(found)]).toEqual([input, listed(nbest)]);
      for (const [i, { score }] of found.entries()) expect(score).toBeCloseTo(nbest[i]?.score as number, 4);
    }
  });

  it("begin with what encodeIds gives, word by word too", () => {
    const tokenizer = huggingFace("unigram");
    const nBest = createNBestEncoder(tokenizer.config);
    for (const text of goldenStrings.filter((each) => each.length < 200 && !each.includes("<"))) {
      const [first] = nBest(text, 3);
      expect([text, first?.ids]).toEqual([text, tokenizer.encodeIds(text, { addSpecialTokens: false })]);
    }
  });

  it("come with hand-checked scores", () => {
    const [first, second, ...rest] = createNBestEncoder(tiny.config)("ab", 9);
    expect([...(first?.ids ?? [])]).toEqual([1, 2]);
    expect(first?.score).toBeCloseTo(Math.log(0.2), 12);
    expect([...(second?.ids ?? [])]).toEqual([3]);
    expect(rest).toEqual([]);
  });

  it("are refused for other models", () => {
    expect(() => createNBestEncoder(huggingFace("wordlevel").config)).toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: createNBestEncoder: only unigram models weigh segmentations; got model type "WordLevel". Use encodeIds.]`,
    );
  });
});

describe("createSamplingTokenizer", () => {
  it("draws with probability proportional to P^alpha", () => {
    for (const alpha of [0, 0.5, 1]) {
      const sampler = createSamplingTokenizer(tiny.config, { seed: 7, alpha });
      let numWhole = 0;
      for (let i = 0; i < 4000; i++) if (sampler.encodeIds("ab").length === 1) numWhole++;
      const expected = 0.1 ** alpha / (0.1 ** alpha + 0.2 ** alpha);
      expect(Math.abs(numWhole / 4000 - expected)).toBeLessThan(0.03);
    }
  });

  it.each([
    ["unigram", sentencePiece("unigram_identity_bf")],
    ["SentencePiece BPE", sentencePiece("bpe_identity_bf")],
    ["byte-level BPE", huggingFace("bpe_bytelevel")],
    ["BPE that takes whole words", huggingFace("bpe_split_regex")],
  ])("%s: the text stays the same, the seed decides", (_, tokenizer) => {
    const samplers = [1, 1, 2].map((seed) =>
      createSamplingTokenizer(tokenizer.config, { seed, alpha: 0.2, dropout: 0.4 }),
    );
    const [a, again, other] = samplers.map((sampler) =>
      goldenStrings.map((text) => {
        const encoding = sampler.encode(text);
        expect(sampler.decode(encoding.ids)).toBe(tokenizer.decode(tokenizer.encodeIds(text)));
        return [...encoding.ids];
      }),
    );
    expect(a).toEqual(again);
    expect(a).not.toEqual(other);
  });

  it("with dropout 0 gives the plain tokens, with 1 single symbols", () => {
    const tokenizer = huggingFace("bpe_bytelevel");
    const none = createSamplingTokenizer(tokenizer.config, { seed: 1, dropout: 0 });
    const all = createSamplingTokenizer(tokenizer.config, { seed: 1, dropout: 1 });
    fc.assert(
      fc.property(fc.string({ unit: "grapheme", maxLength: 200 }), (text) => {
        expect(none.encodeIds(text)).toEqual(tokenizer.encodeIds(text));
        expect(all.encodeIds(text).length).toBe(new TextEncoder().encode(text).length);
      }),
    );
  });

  it("refuses other models and numbers out of range", () => {
    const { config } = huggingFace("wordpiece");
    expect(() => createSamplingTokenizer(config, { seed: 1 })).toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: createSamplingTokenizer: only BPE and unigram models have several segmentations; got model type "WordPiece". Use createTokenizer.]`,
    );
    expect(() =>
      createSamplingTokenizer(tiny.config, { seed: 1, dropout: 2 }),
    ).toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: createSamplingTokenizer: alpha must be at least 0 and dropout from 0 to 1; got alpha 0.1, dropout 2. Correct them; 0.1 is usual for both.]`,
    );
  });
});
