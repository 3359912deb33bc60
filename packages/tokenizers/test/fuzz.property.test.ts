import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  fromSentencePiece,
  fromTekken,
  fromTiktoken,
  fromTokenizerJson,
  fromVocabJson,
  fromVocabTxt,
  HeddleError,
  TIKTOKEN_PATTERNS,
  type Tokenizer,
  toTekken,
  toVocabJson,
  toVocabTxt,
} from "../src/index.js";
import { goldenBytes, goldenJson } from "./golden.js";

type Json = { [key: string]: unknown };

const ranks = new TextDecoder().decode(goldenBytes("tiktoken/gpt2_pattern.tiktoken.gz"));
const model = goldenBytes("sentencepiece/unigram_identity_bf.model.gz");
const bpe = fromTokenizerJson(goldenJson("hf/bpe_bytelevel/tokenizer.json.gz"));
const bpeFiles = toVocabJson(bpe);
const wordPiece = toVocabTxt(fromTokenizerJson(goldenJson("hf/wordpiece/tokenizer.json.gz")));
const tekken = toTekken(fromTiktoken(ranks, { pattern: TIKTOKEN_PATTERNS.gpt2 }));
const names = ["wordpiece", "unigram", "bpe_byte_fallback", "bpe_split_regex", "added_tokens"];
const jsonFiles = names.map((name) => goldenJson<Json>(`hf/${name}/tokenizer.json.gz`));

/** Loads a damaged file: either it is refused with an error of ours, or what was loaded works. */
function loadOrRefuse(load: () => Tokenizer): "loaded" | "refused" {
  let tokenizer: Tokenizer;
  try {
    tokenizer = load();
  } catch (error) {
    if (!HeddleError.is(error)) throw error;
    expect(error.message.length).toBeGreaterThan(40);
    return "refused";
  }
  try {
    const ids = tokenizer.encodeIds("A way, très 日本.");
    tokenizer.decode(ids);
  } catch (error) {
    if (!HeddleError.is(error)) throw error;
  }
  return "loaded";
}

/** A text with something cut off, cut out, doubled or put in. */
const damagedText = (text: string) =>
  fc
    .record({
      at: fc.nat({ max: text.length }),
      length: fc.nat({ max: 200 }),
      put: fc.oneof(fc.string({ maxLength: 8 }), fc.constantFrom("\n", "\0", '"', "{", "1e9", "-1", "null")),
      kind: fc.constantFrom("cut off", "cut out", "double", "put in"),
    })
    .map(({ at, length, put, kind }) => {
      if (kind === "cut off") return text.slice(0, at);
      if (kind === "cut out") return text.slice(0, at) + text.slice(at + length);
      if (kind === "double") return text.slice(0, at + length) + text.slice(at);
      return text.slice(0, at) + put + text.slice(at);
    });

const runs = { numRuns: 60 };

describe("damaged text files load or are refused, and never hang", () => {
  it.each([
    ["tiktoken ranks", ranks, (text: string) => fromTiktoken(text, { pattern: TIKTOKEN_PATTERNS.gpt2 })],
    ["tekken.json", tekken, (text: string) => fromTekken(text)],
    ["vocab.txt", wordPiece, (text: string) => fromVocabTxt(text)],
    ["vocab.json", bpeFiles["vocab.json"], (text: string) => fromVocabJson(text, bpeFiles["merges.txt"])],
    ["merges.txt", bpeFiles["merges.txt"], (text: string) => fromVocabJson(bpeFiles["vocab.json"], text)],
    ...jsonFiles.map((file, i): [string, string, (text: string) => Tokenizer] => [
      `tokenizer.json ${names[i]}`,
      JSON.stringify(file),
      (text) => fromTokenizerJson(text),
    ]),
  ])("%s", (_name, text, load) => {
    fc.assert(
      fc.property(damagedText(text), (damaged) => void loadOrRefuse(() => load(damaged))),
      runs,
    );
  });

  it("a file that is cut off is never taken for a whole one", () => {
    const texts: [string, (text: string) => Tokenizer][] = [
      [JSON.stringify(jsonFiles[0]), (text) => fromTokenizerJson(text)],
      [tekken, (text) => fromTekken(text)],
      [bpeFiles["vocab.json"].trimEnd(), (text) => fromVocabJson(text, bpeFiles["merges.txt"])],
    ];
    for (const [text, load] of texts) {
      fc.assert(
        fc.property(fc.nat({ max: text.length - 1 }), (length) => {
          expect(loadOrRefuse(() => load(text.slice(0, length)))).toBe("refused");
        }),
        { numRuns: 30 },
      );
    }
    fc.assert(
      fc.property(fc.nat({ max: model.length - 1 }), (length) => {
        expect(loadOrRefuse(() => fromSentencePiece(model.subarray(0, length)))).toBe("refused");
      }),
      { numRuns: 100 },
    );
  });
});

/** Paths of all objects of a file whose keys are names of fields, not tokens. */
function fieldObjects(value: unknown, path: (string | number)[] = []): (string | number)[][] {
  if (typeof value !== "object" || value === null) return [];
  if (Array.isArray(value)) return value.slice(0, 40).flatMap((item, i) => fieldObjects(item, [...path, i]));
  const isMap = ["vocab", "special_tokens"].includes(String(path.at(-1)));
  const inner = Object.entries(value).flatMap(([key, item]) => fieldObjects(item, [...path, key]));
  return isMap ? inner : [path, ...inner];
}

function changed(file: Json, path: readonly (string | number)[], change: (object: Json) => void): Json {
  const copy = structuredClone(file);
  let object = copy;
  for (const key of path) object = object[key] as Json;
  change(object);
  return copy;
}

describe("fields of tokenizer.json", () => {
  it.each(jsonFiles.map((file, i) => [names[i] as string, file] as const))(
    "%s: an unknown one is refused by name wherever it stands",
    (_name, file) => {
      const objects = fieldObjects(file);
      expect(objects.length).toBeGreaterThan(3);
      for (const path of objects) {
        const strange = changed(file, path, (object) => {
          object.zigzag = 1;
        });
        expect([path, messageOf(() => fromTokenizerJson(strange))]).toEqual([
          path,
          expect.stringContaining('"zigzag"'),
        ]);
      }
    },
  );

  it("of any other type are refused or mean the same to the file's reader and writer", () => {
    const choices = jsonFiles.flatMap((file) =>
      fieldObjects(file).flatMap((path) => {
        let object = file;
        for (const key of path) object = object[key] as Json;
        return Object.keys(object).map((key) => ({ file, path, key }));
      }),
    );
    const values = fc.oneof(
      fc.constantFrom(null, true, false, -1, 0, 1.5, 1e12, "", "x", [], {}),
      fc.jsonValue({ maxDepth: 2 }),
    );
    fc.assert(
      fc.property(fc.constantFrom(...choices), values, ({ file, path, key }, value) => {
        const strange = changed(file, path, (object) => {
          object[key] = value;
        });
        loadOrRefuse(() => fromTokenizerJson(strange));
      }),
      { numRuns: 150 },
    );
  });
});

function messageOf(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (HeddleError.is(error)) return error.message;
    throw error;
  }
  return "nothing was thrown";
}

describe("files that contradict themselves are refused", () => {
  it("a rank or a token twice", () => {
    const lines = ranks.trimEnd().split("\n");
    const load = (text: string) => () => fromTiktoken(text, { pattern: TIKTOKEN_PATTERNS.gpt2 });
    const [token = ""] = (lines[300] as string).split(" ");
    expect(messageOf(load(`${ranks.trimEnd()}\n${token} 99999\n`))).toMatchInlineSnapshot(
      `"fromTiktoken: a token and a rank must stand in one line only; got line 699 "IG0= 99999", which says one of them again. Check the rank file."`,
    );
    expect(messageOf(load(`${ranks.trimEnd()}\nYWJjZGVmZw== 300\n`))).toMatchInlineSnapshot(
      `"fromTiktoken: a token and a rank must stand in one line only; got line 699 "YWJjZGVmZw== 300", which says one of them again. Check the rank file."`,
    );
    const file = JSON.parse(tekken) as { vocab: { rank: number }[] };
    (file.vocab[300] as { rank: number }).rank = 301;
    expect(messageOf(() => fromTekken(JSON.stringify(file)))).toMatchInlineSnapshot(
      `"fromTekken: tekken.json vocab[301].rank must be a rank of its own, at least 0; got 301. Correct the file."`,
    );
  });

  it("a token twice in vocab.txt", () => {
    expect(messageOf(() => fromVocabTxt(`${wordPiece}[CLS]\n`))).toMatchInlineSnapshot(
      `"fromVocabTxt: a token must stand in one line only; got "[CLS]" in lines 3 and 901. Check the file for damage."`,
    );
  });
});
