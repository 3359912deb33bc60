import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  createTokenizer,
  fromSentencePiece,
  fromTiktoken,
  fromTokenizerJson,
  TIKTOKEN_PATTERNS,
  type Tokenizer,
} from "../src/index.js";
import { compileModel } from "../src/models/model.js";
import { TokenBuffer } from "../src/token-buffer.js";
import { bytesToUnits, encodeUnits } from "../src/utf8-units.js";
import { goldenBytes, goldenJson } from "./golden.js";

const huggingFace = (name: string) => fromTokenizerJson(goldenJson<object>(`hf/${name}/tokenizer.json.gz`));
const ranks = new TextDecoder().decode(goldenBytes("tiktoken/cl100k_pattern.tiktoken.gz"));

/** Text of many scripts, with what makes cutting hard: marks, half characters, runs, spaces of all kinds. */
const parts = [..."aeT,.'!#1 \t\né中文日の한กำмаü\u0301\u0000\u00ad\u3000😀ﬁ\uf900"].concat(
  "the ",
  "\r\n",
  "\ud83d",
  "\ude00",
  "中中文文",
  "   ",
  "สวัสดี",
  "ing",
  "\u2581",
  "<unk>",
  "日本語の",
);
const texts = fc.oneof(
  fc.array(fc.constantFrom(...parts), { maxLength: 60 }).map((all) => all.join("")),
  fc.string({ unit: "binary", maxLength: 40 }),
);

/** The model alone on the whole text: no words, no cuts, no memory. */
function whole(tokenizer: Tokenizer, text: string): { ids: number[]; offsets: [number, number][] } {
  const model = compileModel(tokenizer.config.model);
  const out = new TokenBuffer();
  if (model.tokenizeBytes === null || tokenizer.config.model.type === "SentencePiece")
    model.tokenize(text, out);
  else {
    const bytes = new TextEncoder().encode(text);
    model.tokenizeBytes(bytes, bytes.length, out);
  }
  const offsets = Array.from({ length: out.length }, (_, i): [number, number] => [
    out.starts[i] as number,
    out.ends[i] as number,
  ]);
  return { ids: [...out.ids.subarray(0, out.length)], offsets };
}

const cut: [string, Tokenizer][] = [
  ["byte-level BPE", huggingFace("bpe_bytelevel")],
  ["tiktoken", fromTiktoken(ranks, { pattern: TIKTOKEN_PATTERNS.cl100k })],
  ["SentencePiece BPE", fromSentencePiece(goldenBytes("sentencepiece/bpe_identity_bf.model.gz"))],
];

describe.each(cut)("a text as one word: %s", (name, tokenizer) => {
  const isByteLevel = name !== "SentencePiece BPE";
  const bytes = { type: "ByteLevel", addPrefixSpace: false, trimOffsets: false, useRegex: false } as const;
  const inOne = createTokenizer({
    ...tokenizer.config,
    normalizer: null,
    preTokenizer: isByteLevel ? bytes : null,
    postProcessor: null,
    addedTokens: [],
  });

  it("gives the tokens of the model alone, cut or not, new or remembered", () => {
    fc.assert(
      fc.property(texts, (text) => {
        if (text === "") return;
        const { ids: expected, offsets } = whole(tokenizer, text);
        // Often enough that the table of cuts is made and used for short words too.
        for (let round = 0; round < 3; round++) expect([...inOne.encodeIds(text)]).toEqual(expected);
        expect(inOne.countTokens(text)).toBe(expected.length);
        expect([...inOne.encode(text).ids]).toEqual(expected);
        // Those of bytes are in bytes.
        if (!isByteLevel) expect(inOne.encode(text).offsets).toEqual(offsets);
      }),
      { numRuns: 1000 },
    );
  });
});

describe("characters that no token holds beside another one", () => {
  const { config } = huggingFace("bpe_byte_fallback");
  if (config.model.type !== "BPE") throw new Error(config.model.type);
  const { vocab, merges, ...fields } = config.model;
  // Of the characters that are in no token every second one becomes a token; the first has an id too great to be noted.
  const unknown = parts.filter(
    (part) => /^[^\ud800-\udfff]$/.test(part) && !vocab.some(([token]) => token.includes(part)),
  );
  const lone = unknown.filter((_, i) => i % 2 === 0);
  const more = lone.map((char, i): [string, number] => [char, i === 0 ? 0x7fffffff : 900_000 + i]);
  const make = (byteFallback: boolean, unkToken: string | null) => {
    const model = { ...fields, merges, vocab: [...vocab, ...more], byteFallback, unkToken };
    const parts = { normalizer: null, preTokenizer: null, postProcessor: null, decoder: null };
    return { model: compileModel(model), tokenizer: createTokenizer({ ...parts, model, addedTokens: [] }) };
  };
  const kinds: [string, boolean, string | null][] = [
    ["bytes", true, null],
    ["an unknown token", false, "<unk>"],
    ["nothing", false, null],
  ];

  it.each(kinds)("give the tokens and ranges of the model alone; unknown ones become %s", (_, bytes, unk) => {
    expect(lone.length).toBeGreaterThan(3);
    const { model, tokenizer } = make(bytes, unk);
    fc.assert(
      fc.property(texts, fc.integer({ min: 1, max: 40 }), (part, times) => {
        const text = part.repeat(times);
        const out = new TokenBuffer();
        model.tokenize(text, out);
        const [ids, starts, ends] = [out.ids, out.starts, out.ends].map((all) => [
          ...all.subarray(0, out.length),
        ]);
        expect([...tokenizer.encodeIds(text)]).toEqual(ids);
        expect(tokenizer.countTokens(text)).toBe(out.length);
        const encoding = tokenizer.encode(text);
        expect([...encoding.ids]).toEqual(ids);
        expect([...encoding.starts]).toEqual(starts);
        expect([...encoding.ends]).toEqual(ends);
      }),
      { numRuns: 300 },
    );
  });

  it("find room for more tokens than were expected", () => {
    const { model, tokenizer } = make(true, null);
    const text = "\u9f98".repeat(400_000);
    const out = new TokenBuffer();
    model.tokenize("\u9f98", out);
    expect(out.length).toBe(3);
    const ids = tokenizer.encodeIds(text);
    expect(ids.length).toBe(1_200_000);
    expect([...ids.subarray(-3)]).toEqual([...out.ids.subarray(0, 3)]);
    expect(ids[600_001]).toBe(out.ids[1]);
  });
});

describe("BERT's stretches of original text", () => {
  const tokenizer = huggingFace("wordpiece");
  // An added token that is looked for in clean text keeps the parts one after the other.
  const { config } = tokenizer;
  const twin = createTokenizer({
    ...config,
    addedTokens: [
      ...config.addedTokens,
      {
        id: 0,
        content: "\u{10ffff}\u{10fffe}\u{10ffff}",
        singleWord: false,
        lstrip: false,
        rstrip: false,
        normalized: true,
        special: false,
      },
    ],
  });

  it("make no character of two halves with a dropped character between them", () => {
    const text = "a\ud83d\u00ad\ude00b";
    expect(tokenizer.encode(text).tokens).toEqual(tokenizer.encode("a\ufffd\u00ad\ufffdb").tokens);
  });

  it("give the tokens and ranges of the parts run one after the other", () => {
    expect(config.normalizer?.type).toBe("BertNormalizer");
    fc.assert(
      fc.property(texts, (text) => {
        const [quick, slow] = [tokenizer.encode(text), twin.encode(text)];
        expect([...quick.ids]).toEqual([...slow.ids]);
        expect(quick.offsets).toEqual(slow.offsets);
      }),
      { numRuns: 2000 },
    );
  });
});

describe("a prefix put before each stretch between added tokens", () => {
  const { config } = huggingFace("bpe_byte_fallback");
  const special = (id: number, content: string, normalized = false) => ({
    ...{
      id,
      content,
      normalized,
      singleWord: false,
      lstrip: false,
      rstrip: content === "<r>",
      special: true,
    },
  });
  const prepend = (prefix: string) => ({
    type: "Sequence" as const,
    normalizers: [
      { type: "Prepend" as const, prepend: prefix },
      {
        type: "Replace" as const,
        pattern: { type: "String" as const, text: " " },
        content: "\u2581",
      },
    ],
  });
  const tokenizer = (prefix: string, isSlow: boolean) =>
    createTokenizer({
      ...config,
      normalizer: prepend(prefix),
      addedTokens: [
        ...[special(0, "<unk>"), special(1, "e"), special(2, "<r>")],
        // A token that is looked for in the normalised text keeps the parts one after the other.
        ...(isSlow ? [special(3, "\u{10ffff}\u{10fffe}\u{10ffff}", true)] : []),
      ],
    });

  it.each(["\u2581", "\u2581\u2581a", " "])(
    "gives the tokens and ranges of the parts run in turn: %j",
    (prefix) => {
      const [quick, slow] = [tokenizer(prefix, false), tokenizer(prefix, true)];
      const some = fc.array(fc.constantFrom(...parts, "<r>", "<unk><r>", "ee"), { maxLength: 40 });
      fc.assert(
        fc.property(some, (all) => {
          const text = all.join("");
          const [got, expected] = [quick.encode(text), slow.encode(text)];
          expect([...got.ids]).toEqual([...expected.ids]);
          expect(got.offsets).toEqual(expected.offsets);
          expect([...quick.encodeIds(text)]).toEqual([...slow.encodeIds(text)]);
        }),
        { numRuns: 500 },
      );
    },
  );
});

describe("SentencePiece's normaliser, where every unit keeps its place", () => {
  const special = { special: true, singleWord: false, lstrip: false, rstrip: false } as const;
  // A token that is looked for in the normalised text has its parts run in turn.
  const isSlow = { ...special, id: 1, content: "\u{10ffff}\u{10fffe}\u{10ffff}", normalized: true };
  const models = ["bpe_identity_bf", "bpe_plain", "bpe_symbols", "unigram_identity_bf"];
  const changes = [
    {},
    { addDummyPrefix: false },
    { escapeWhitespaces: false },
    { treatWhitespaceAsSuffix: true },
    { removeExtraWhitespaces: true },
    { userDefinedSymbols: ["a b", " "] },
  ];
  const cases = models.flatMap((model) => changes.map((change) => [model, change] as const));

  it.each(cases)("gives the tokens and ranges of the parts run in turn: %s %j", (name, change) => {
    const { config } = fromSentencePiece(goldenBytes(`sentencepiece/${name}.model.gz`));
    if (config.normalizer?.type !== "SentencePiece") throw new Error(config.normalizer?.type);
    const usual = { removeExtraWhitespaces: false, treatWhitespaceAsSuffix: false };
    const normalizer = { ...config.normalizer, ...usual, ...change };
    const added = [{ ...special, id: 0, content: "<unk>", normalized: false }];
    const quick = createTokenizer({ ...config, normalizer, addedTokens: added });
    const slow = createTokenizer({ ...config, normalizer, addedTokens: [...added, isSlow] });
    fc.assert(
      fc.property(texts, fc.integer({ min: 1, max: 3 }), (part, times) => {
        const text = part.repeat(times);
        const [got, expected] = [quick.encode(text), slow.encode(text)];
        expect([...got.ids]).toEqual([...expected.ids]);
        expect(got.tokens).toEqual(expected.tokens);
        expect(got.offsets).toEqual(expected.offsets);
        expect([...quick.encodeIds(text)]).toEqual([...expected.ids]);
      }),
      { numRuns: 200 },
    );
  });
});

describe("texts that are read in windows", () => {
  const special = { special: true, singleWord: false, lstrip: false, rstrip: false } as const;
  const isSlow = { ...special, id: 1, content: "\u{10ffff}\u{10fffe}\u{10ffff}", normalized: true };
  /** All bytes, and tokens that tell where words of space and punctuation end. */
  const tokens = Array.from({ length: 256 }, (_, byte) => String.fromCharCode(byte));
  const spaced = [...tokens, "  ", "    ", ".\n", "\n\n", " \n", "! ", "'s", " a"]
    .map((token, rank) => `${btoa(token)} ${rank}`)
    .join("\n");
  const tokenizers: [string, Tokenizer][] = [
    ["spaces end words", fromTiktoken(spaced, { pattern: TIKTOKEN_PATTERNS.cl100k })],
    ["a prefix, one word", huggingFace("bpe_byte_fallback")],
    [
      "a prefix, one word, a model file",
      fromSentencePiece(goldenBytes("sentencepiece/bpe_identity_bf.model.gz")),
    ],
    ...(["Isolated", "MergedWithPrevious", "MergedWithNext"] as const).map(
      (behavior): [string, Tokenizer] => [
        `one unit ends words: ${behavior}`,
        createTokenizer({
          ...huggingFace("bpe_byte_fallback").config,
          normalizer: null,
          preTokenizer: { type: "Split", pattern: { type: "String", text: "." }, behavior, invert: false },
        }),
      ],
    ),
  ];

  it.each(tokenizers)("gives the tokens and ranges of the text read at once: %s", (_name, { config }) => {
    const added = [{ ...special, id: 0, content: "<unk>", normalized: false }];
    const quick = createTokenizer({ ...config, addedTokens: added });
    // A token that is looked for in the normalised text has all of it read at once.
    const slow = createTokenizer({ ...config, addedTokens: [...added, isSlow] });
    const repeated = [
      "x.\n",
      "a b ",
      "x   y",
      "a \n b",
      "!  !",
      "中 文。\n",
      "中文",
      "a<unk> b",
      "'s\n\n",
      "\ud83d\ude00 é",
      // No place to cut, from the first character on or behind it.
      "e",
      "\ud83d\ude00",
    ];
    for (const part of repeated) {
      // A bound of a window falls on each place of the part.
      for (let shift = 0; shift < part.length; shift++) {
        const text = part.repeat(70_000 / part.length).slice(shift);
        const [got, expected] = [quick.encode(text), slow.encode(text)];
        expect(got.ids).toEqual(expected.ids);
        expect(got.starts).toEqual(expected.starts);
        expect(got.ends).toEqual(expected.ends);
        expect(quick.encodeIds(text)).toEqual(expected.ids);
      }
    }
  });
});

it("units become UTF-8 as TextEncoder writes it, and ranges come back", () => {
  fc.assert(
    fc.property(texts, (text) => {
      const units = Uint16Array.from({ length: text.length }, (_, i) => text.charCodeAt(i));
      const bytes = new Uint8Array(text.length * 3);
      const length = encodeUnits(units, 0, units.length, bytes);
      expect([...bytes.subarray(0, length)]).toEqual([...new TextEncoder().encode(text)]);
      const tokens = new TokenBuffer();
      for (let at = 0; at < length; at++) tokens.push(0, at, at + 1);
      bytesToUnits(bytes, tokens);
      const expected = [...text].flatMap((char, i) => {
        const start = [...text].slice(0, i).join("").length;
        const size = new TextEncoder().encode(char).length;
        return Array.from({ length: size }, () => [start, start + char.length]);
      });
      expect(Array.from({ length }, (_, i) => [tokens.starts[i], tokens.ends[i]])).toEqual(expected);
    }),
    { numRuns: 500 },
  );
});
