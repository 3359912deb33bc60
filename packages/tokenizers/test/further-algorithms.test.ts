import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  compressBytes,
  createByteTokenizer,
  createTokenizer,
  decompressBytes,
  fromTokenizerJson,
  toTokenizerJson,
  trainCharacterLevel,
  trainMorphemes,
} from "../src/index.js";
import { MorphemeAnalysis } from "../src/training/morpheme-trainer.js";
import { goldenBytes, goldenStrings } from "./golden.js";

const bytesOf = (text: string) => new TextEncoder().encode(text);

describe("Gage's byte-pair compressor", () => {
  it("packs the example of the paper: ABABCABCD, pair by pair", () => {
    const packed = compressBytes(bytesOf("ABABCABCD"), { minCount: 2 });
    // Bytes 0 to 253 stand for themselves in runs of 128 and 126, 254 for (255, C), 255 for (A, B); five bytes follow.
    const [ab, abc] = [255, 254];
    expect([...packed]).toEqual([255, 253, 1, ab, 67, 65, 66, 0, 4, ab, abc, abc, 68]);
    expect(new TextDecoder().decode(decompressBytes(packed))).toBe("ABABCABCD");
  });

  it("gives any bytes back", () => {
    const blocks = fc.record({
      bytes: fc.oneof(
        fc.uint8Array({ maxLength: 600 }),
        fc.array(fc.constantFrom(1, 2, 3), { maxLength: 600 }).map((list) => Uint8Array.from(list)),
      ),
      blockSize: fc.integer({ min: 1, max: 300 }),
      minCount: fc.integer({ min: 2, max: 5 }),
    });
    fc.assert(
      fc.property(blocks, ({ bytes, ...options }) => {
        expect(decompressBytes(compressBytes(bytes, options))).toEqual(bytes);
      }),
    );
  });

  it("makes a text shorter and random bytes little longer", () => {
    const corpus = goldenBytes("corpus.txt");
    const packed = compressBytes(corpus);
    expect(packed.length).toBeLessThan(corpus.length * 0.75);
    expect(decompressBytes(packed)).toEqual(corpus);
    const all = Uint8Array.from({ length: 5000 }, (_, i) => (i * 7919) >> 3);
    expect(compressBytes(all).length).toBeLessThan(all.length + 16);
  });

  it("refuses what it did not make, never hanging", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
        try {
          decompressBytes(bytes);
        } catch (error) {
          expect(String(error)).toContain("decompressBytes");
        }
      }),
    );
    const itself = [255, 253, 1, 255, 255, 254, 254, 0, 1, 255];
    expect(() => decompressBytes(Uint8Array.from(itself))).toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: decompressBytes: the bytes must be blocks of table, length and packed bytes; got byte 254 that stands for itself and more, 10 bytes in all. Check that they come whole from compressBytes.]`,
    );
    expect(() => compressBytes(bytesOf("a"), { blockSize: 0 })).toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: compressBytes: blockSize must be from 1 to 65535 and minCount at least 2; got blockSize 0, minCount 3. Correct them; 5000 and 3 are usual.]`,
    );
  });
});

describe("trainMorphemes", () => {
  const stems = ["walk", "talk", "jump", "play", "open", "paint", "clean"];
  const words = stems.flatMap((stem) => [stem, `${stem}s`, `${stem}ed`, `${stem}ing`]);

  it("finds stems and endings that nobody named", async () => {
    const model = await trainMorphemes(words, { wordMark: "\u2581" });
    const morphs = model.vocab.map(([morph]) => morph);
    expect(morphs).toEqual(expect.arrayContaining(["\u2581", "s", "ed", "ing", ...stems]));
    const tokenizer = createTokenizer({
      normalizer: null,
      preTokenizer: { type: "Metaspace", replacement: "\u2581", prependScheme: "always", split: true },
      model,
      postProcessor: null,
      decoder: { type: "Metaspace", replacement: "\u2581", prependScheme: "always", split: true },
      addedTokens: [],
    });
    const { tokens, ids } = tokenizer.encode("jumping walked plays");
    expect(tokens).toEqual(["\u2581", "jump", "ing", "\u2581", "walk", "ed", "\u2581", "play", "s"]);
    expect(tokenizer.decode(ids)).toBe("jumping walked plays");
  });

  it("never raises the cost, which is that of the analysis as it stands", () => {
    const counts = new Map(words.map((word, i) => [word, 1 + (i % 3)]));
    const analysis = new MorphemeAnalysis(counts);
    const letters = new Set(words.join("")).size;
    for (let pass = 0; pass < 3; pass++) {
      for (const word of words) {
        const before = analysis.cost;
        analysis.resplit(word);
        expect(analysis.cost).toBeLessThanOrEqual(before + 1e-9);
      }
      const uses = new Map<string, number>();
      for (const [word, count] of counts) {
        const morphs = analysis.segment(word);
        expect(morphs.join("")).toBe(word);
        for (const morph of morphs) uses.set(morph, (uses.get(morph) ?? 0) + count);
      }
      expect(new Map(analysis.morphs())).toEqual(uses);
      const total = [...uses.values()].reduce((a, b) => a + b, 0);
      const corpus =
        total * Math.log(total) - [...uses.values()].reduce((sum, c) => sum + c * Math.log(c), 0);
      const lexicon =
        [...uses.keys()].reduce((sum, morph) => sum + morph.length + 1, 0) * Math.log(letters + 1);
      expect(analysis.cost).toBeCloseTo(corpus + lexicon, 8);
    }
  });

  it("needs words", async () => {
    await expect(trainMorphemes([""])).rejects.toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: trainMorphemes: the corpus must hold words; got none. Check texts, normalizer and preTokenizer.]`,
    );
  });
});

describe("trainCharacterLevel and createByteTokenizer", () => {
  it("gives every character of the corpus a token, the most frequent first", async () => {
    const tokenizer = await trainCharacterLevel(["abba 😀b", "bc"], { specialTokens: ["<pad>"] });
    expect(tokenizer.config.model).toMatchObject({
      vocab: [
        ["<unk>", 0],
        ["<pad>", 1],
        ["b", 2],
        ["a", 3],
        [" ", 4],
        ["c", 5],
        ["😀", 6],
      ],
    });
    const { tokens, offsets } = tokenizer.encode("b😀 z<pad>");
    expect(tokens).toEqual(["b", "😀", " ", "<unk>", "<pad>"]);
    expect(offsets).toEqual([
      [0, 1],
      [1, 3],
      [3, 4],
      [4, 5],
      [5, 10],
    ]);
    expect(tokenizer.decode([2, 6, 4])).toBe("b😀 ");
    expect(fromTokenizerJson(toTokenizerJson(tokenizer)).encode("b😀 ").tokens).toEqual(["b", "😀", " "]);
  });

  it("counts bytes behind the special tokens", () => {
    const tokenizer = createByteTokenizer({ specialTokens: ["<pad>", "</s>", "<unk>"] });
    expect([...tokenizer.encodeIds("é</s>")]).toEqual([0xc3 + 3, 0xa9 + 3, 1]);
    expect(tokenizer.vocabSize).toBe(259);
    for (const text of goldenStrings) {
      expect(tokenizer.decode(tokenizer.encodeIds(text, { parseSpecialTokens: false }))).toBe(
        text.replaceAll(/\p{Surrogate}/gu, "\ufffd"),
      );
    }
  });
});
