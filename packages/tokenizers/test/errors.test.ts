import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  fromSentencePiece,
  fromTekken,
  fromTiktoken,
  fromTokenizerJson,
  HeddleError,
  loadTokenizer,
  toSentencePiece,
  toTokenizerJson,
} from "../src/index.js";
import { goldenBytes, goldenJson } from "./golden.js";

type Json = Record<string, unknown>;
const json = (): Json => goldenJson<Json>("hf/bpe_bytelevel/tokenizer.json.gz");
const wordPiece = (): Json => goldenJson<Json>("hf/wordpiece/tokenizer.json.gz");
const model = goldenBytes("sentencepiece/bpe_plain.model.gz");

function errorOf(work: () => unknown): HeddleError {
  try {
    work();
  } catch (error) {
    if (HeddleError.is(error)) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

const cases: [string, () => unknown][] = [
  ["text that is not JSON", () => fromTokenizerJson('{"model": {')],
  ["JSON that is no object", () => fromTokenizerJson("[1]")],
  ["an unknown part", () => fromTokenizerJson({ ...json(), extras: 1 })],
  ["an unknown normalizer", () => fromTokenizerJson({ ...json(), normalizer: { type: "Rot13" } })],
  [
    "an unknown pre-tokenizer inside a sequence",
    () =>
      fromTokenizerJson({
        ...json(),
        pre_tokenizer: { type: "Sequence", pretokenizers: [{ type: "Kanji" }] },
      }),
  ],
  ["an unknown decoder", () => fromTokenizerJson({ ...json(), decoder: { type: "Oracle" } })],
  ["an unknown post-processor", () => fromTokenizerJson({ ...json(), post_processor: { type: "Stamp" } })],
  ["an unknown model", () => fromTokenizerJson({ ...json(), model: { type: "Markov" } })],
  [
    "an unknown field of a component",
    () => fromTokenizerJson({ ...json(), normalizer: { type: "NFC", strict: true } }),
  ],
  [
    "a missing field of a component",
    () => fromTokenizerJson({ ...json(), normalizer: { type: "Strip", strip_left: true } }),
  ],
  [
    "a field of the wrong type",
    () => fromTokenizerJson({ ...json(), normalizer: { type: "Prepend", prepend: 7 } }),
  ],
  [
    "a split behaviour outside the list",
    () =>
      fromTokenizerJson({
        ...json(),
        pre_tokenizer: { type: "Split", pattern: { String: " " }, behavior: "Shredded" },
      }),
  ],
  [
    "a pattern that cannot be translated",
    () =>
      fromTokenizerJson({
        ...json(),
        pre_tokenizer: { type: "Split", pattern: { Regex: "(a)\\1" }, behavior: "Isolated" },
      }),
  ],
  [
    "a dropout that is no probability",
    () => fromTokenizerJson({ ...json(), model: { ...(json().model as Json), dropout: 1.5 } }),
  ],
  [
    "an unknown field of a model",
    () => fromTokenizerJson({ ...json(), model: { ...(json().model as Json), cache_capacity: 9 } }),
  ],
  [
    "a switch of a model that is none",
    () => fromTokenizerJson({ ...json(), model: { ...(json().model as Json), byte_fallback: "yes" } }),
  ],
  [
    "an unknown field of an added token",
    () => fromTokenizerJson({ ...json(), added_tokens: [{ id: 1, content: "<x>", bold: true }] }),
  ],
  [
    "a switch of an added token that is none",
    () => fromTokenizerJson({ ...json(), added_tokens: [{ id: 1, content: "<x>", lstrip: 1 }] }),
  ],
  [
    "an unknown field of the truncation",
    () => fromTokenizerJson({ ...json(), truncation: { max_length: 512, ellipsis: "..." } }),
  ],
  [
    "an unknown field of the padding",
    () =>
      fromTokenizerJson({
        ...json(),
        padding: {
          strategy: "BatchLongest",
          direction: "Right",
          pad_id: 0,
          pad_type_id: 0,
          pad_token: "x",
          colour: 1,
        },
      }),
  ],
  [
    "an unknown field inside a template",
    () =>
      fromTokenizerJson({
        ...json(),
        post_processor: {
          type: "TemplateProcessing",
          single: [{ Sequence: { id: "A", type_id: 0, weight: 2 } }],
          pair: [],
          special_tokens: {},
        },
      }),
  ],
  [
    "an unk_id outside the vocabulary",
    () => fromTokenizerJson({ ...json(), model: { type: "Unigram", vocab: [["a", -1]], unk_id: 1 } }),
  ],
  [
    "an unknown field of tekken.json",
    () => fromTekken(JSON.stringify({ config: {}, vocab: [], grammar: {} })),
  ],
  [
    "a truncation strategy outside the list",
    () => fromTokenizerJson({ ...json(), truncation: { max_length: 512, strategy: "Never" } }),
  ],
  [
    "a merge of unknown tokens",
    () => fromTokenizerJson({ ...json(), model: { ...(json().model as Json), merges: [["no", "where"]] } }),
  ],
  [
    "a malformed merge",
    () => fromTokenizerJson({ ...json(), model: { ...(json().model as Json), merges: ["a b c"] } }),
  ],
  [
    "a fractional id",
    () => fromTokenizerJson({ ...json(), model: { ...(json().model as Json), vocab: { a: 0.5 } } }),
  ],
  [
    "an unknown token that is not there",
    () =>
      fromTokenizerJson({ ...wordPiece(), model: { ...(wordPiece().model as Json), unk_token: "[WHAT]" } }),
  ],
  [
    "an added token without an id",
    () => fromTokenizerJson({ ...json(), added_tokens: [{ content: "<x>" }] }),
  ],
  [
    "truncation without room",
    () => fromTokenizerJson(wordPiece()).encode("a", { truncation: { maxLength: 1 } }),
  ],
  [
    "a stride that leaves no progress",
    () => fromTokenizerJson(json()).encode("a b c d e f", { truncation: { maxLength: 3, stride: 3 } }),
  ],
  [
    "cutting the second of one text",
    () =>
      fromTokenizerJson(json()).encode("a b c d e f", {
        truncation: { maxLength: 3, strategy: "onlySecond" },
      }),
  ],
  ["a text that is none", () => fromTokenizerJson(json()).encode(["a"] as never)],
  ["a text that is none, for ids", () => fromTokenizerJson(json()).encodeIds(undefined as never)],
  ["an id outside the vocabulary", () => fromTokenizerJson(json()).decode([5, 70_000])],
  ["an empty model file", () => fromSentencePiece(new Uint8Array(0))],
  ["a model file cut short", () => fromSentencePiece(model.subarray(0, 1001))],
  ["a model file of another kind", () => fromSentencePiece(new TextEncoder().encode("GGUF, not protobuf"))],
  ["a missing BOS piece", () => fromSentencePiece(model, { addBosToken: true, roles: { bos: "<begin>" } })],
  ["a SentencePiece model to be written as JSON", () => toTokenizerJson(fromSentencePiece(model))],
  ["a rank file with a bad line", () => fromTiktoken("IQ== 0\nIg==\n", { pattern: "." })],
  ["a rank file without all bytes", () => fromTiktoken("IQ== 0\n", { pattern: "." })],
  ["a rank file that is not base64", () => fromTiktoken("*** 0\n", { pattern: "." })],
  ["a rank file with a rank beyond 31 bits", () => fromTiktoken("IQ== 2147483648\n", { pattern: "." })],
  ["no tokenizer file at all", () => loadTokenizer({ "tokenizer_config.json": "{}" })],
  ["the bytes of a file instead of files by name", () => loadTokenizer(model as never)],
  ["the text of a file instead of files by name", () => loadTokenizer("{}" as never)],
  [
    "a broken tokenizer_config.json",
    () => loadTokenizer({ "tokenizer.model": model, "tokenizer_config.json": "{" }),
  ],
];

describe("errors name the rule, the value and the cure", () => {
  it.each(cases)("%s", (_name, work) => {
    const { code, message } = errorOf(work);
    expect(
      `${code}: ${message.replace(/\((?:Expected|Unexpected|Unterminated).*\)/, "(the parser's words)")}`,
    ).toMatchSnapshot();
  });
});

describe("damaged files", () => {
  it("a SentencePiece model with any bytes changed loads or is refused with a HeddleError", () => {
    const places = fc.array(fc.tuple(fc.nat({ max: model.length - 1 }), fc.nat({ max: 255 })), {
      minLength: 1,
      maxLength: 4,
    });
    fc.assert(
      fc.property(places, fc.nat({ max: model.length }), (changes, length) => {
        const damaged = model.slice(0, length);
        for (const [at, byte] of changes) damaged[at] = byte;
        try {
          expect(fromSentencePiece(damaged).encodeIds("a way").length).toBeGreaterThanOrEqual(0);
        } catch (error) {
          expect(HeddleError.is(error) ? "HeddleError" : error).toBe("HeddleError");
        }
      }),
    );
  });

  it("a tokenizer.json with any value replaced loads or is refused with a HeddleError", () => {
    const paths = [
      ["model", "vocab"],
      ["model", "merges"],
      ["model", "unk_token"],
      ["added_tokens"],
      ["pre_tokenizer"],
      ["post_processor"],
      ["decoder"],
      ["normalizer"],
      ["pre_tokenizer", "type"],
      ["decoder", "type"],
    ];
    fc.assert(
      fc.property(fc.constantFrom(...paths), fc.jsonValue(), (path, value) => {
        const file = json();
        const [first = "", second] = path;
        file[first] = second === undefined ? value : { ...(file[first] as Json), [second]: value };
        try {
          expect(fromTokenizerJson(file).countTokens("")).toBe(0);
        } catch (error) {
          expect(HeddleError.is(error) ? "HeddleError" : error).toBe("HeddleError");
        }
      }),
    );
  });
});

describe("loadTokenizer", () => {
  it("takes roles and added tokens from tokenizer_config.json", () => {
    const settings = {
      bos_token: { content: "<s>" },
      eos_token: "</s>",
      add_bos_token: true,
      add_eos_token: true,
      added_tokens_decoder: { "700": { content: "<|user|>", special: true } },
    };
    const tokenizer = loadTokenizer({
      "tokenizer.model": model,
      "tokenizer_config.json": JSON.stringify(settings),
    });
    const ids = tokenizer.encodeIds("<|user|>way");
    expect([tokenizer.bosId, tokenizer.eosId, tokenizer.idLimit]).toEqual([1, 2, 701]);
    expect([ids[0], ids[1], ids.at(-1)]).toEqual([1, 700, 2]);
    expect(tokenizer.decode(ids, { skipSpecialTokens: true })).toBe("way");
  });

  it("puts the dummy prefix where `legacy` says, and refuses models where that cannot be done", () => {
    const load = (name: string, legacy: boolean) =>
      loadTokenizer({
        "tokenizer.model": goldenBytes(`sentencepiece/${name}.model.gz`),
        "tokenizer_config.json": JSON.stringify({ legacy }),
      });
    const [old, once] = [load("bpe_identity_bf", true), load("bpe_identity_bf", false)];
    const plain = { addSpecialTokens: false };
    const ids = (text: string) => [...once.encodeIds(text, plain)];
    expect(ids("the way of a 日")).toEqual([...old.encodeIds("the way of a 日", plain)]);
    expect(once.encode("way</s>way", plain).tokens.join("|")).toMatch(/^▁.*<\/s>\|[^▁]/);
    expect(old.encode("way</s>way", plain).tokens.join("|")).toMatch(/^▁.*<\/s>\|▁/);
    expect(once.encode("</s>way", plain).offsets.at(-1)?.[1]).toBe(7);
    for (const text of ["way</s>way", "</s>way </s> of", " two  spaces ", "", "日本"]) {
      expect(once.decode(ids(text), { skipSpecialTokens: true })).toBe(
        text.replaceAll("</s>", "").replace(/^ /, ""),
      );
    }
    expect([...fromSentencePiece(toSentencePiece(once)).encodeIds("way")]).toEqual(ids("way"));
    expect(() => load("bpe_plain", false)).toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: loadTokenizer: legacy: false in tokenizer_config.json needs a tokenizer.model that keeps all white space and marks it before words; got remove_extra_whitespaces true, treat_whitespace_as_suffix false, escape_whitespaces true. Load the model's tokenizer.json.]`,
    );
  });

  it("prefers tokenizer.json and gives it the roles", () => {
    const file = JSON.stringify(json());
    const settings = JSON.stringify({ eos_token: "<|endoftext|>", pad_token: "<|pad|>" });
    const tokenizer = loadTokenizer({
      "tokenizer.json": file,
      "tokenizer.model": model,
      "tokenizer_config.json": settings,
    });
    expect([tokenizer.bosId, tokenizer.eosId, tokenizer.padId]).toEqual([undefined, 0, 1]);
    expect(tokenizer.specialTokens).toEqual(["<|endoftext|>", "<|pad|>"]);
  });
});
