import { describe, expect, it } from "vitest";
import { fromTekken, fromTiktoken, loadTokenizer, TIKTOKEN_PATTERNS } from "../src/index.js";
import { goldenBytes, goldenStrings } from "./golden.js";

const ranks = new TextDecoder().decode(goldenBytes("tiktoken/cl100k_pattern.tiktoken.gz"));
const vocab = ranks
  .trim()
  .split("\n")
  .map((line) => {
    const [token_bytes, rank] = line.split(" ");
    return { rank: Number(rank), token_bytes };
  });
const numSpecial = 20;
const config = {
  pattern: TIKTOKEN_PATTERNS.cl100k,
  default_vocab_size: vocab.length + numSpecial,
  default_num_special_tokens: numSpecial,
};
const file = (fields: object) => JSON.stringify({ config, vocab, ...fields });

describe("fromTekken", () => {
  it("encodes like a rank file, behind the special tokens", () => {
    const expected = fromTiktoken(ranks, { pattern: TIKTOKEN_PATTERNS.cl100k });
    const tokenizer = fromTekken(file({}));
    expect(tokenizer.vocabSize).toBe(vocab.length + numSpecial);
    for (const text of goldenStrings.filter((each) => !/<s>|<\/s>|<unk>|<pad>/.test(each))) {
      const ids = tokenizer.encodeIds(text);
      expect([text, [...ids]]).toEqual([text, [...expected.encodeIds(text)].map((id) => id + numSpecial)]);
      expect(tokenizer.decode(ids)).toBe(expected.decode(expected.encodeIds(text)));
    }
  });

  it("names special tokens as the file does, or as the first files did", () => {
    const old = fromTekken(file({}));
    expect([3, 13, 14].map((id) => old.idToToken(id))).toEqual(["[INST]", "[SUFFIX]", "<SPECIAL_14>"]);
    const named = fromTekken(file({ special_tokens: [{ rank: 3, token_str: "[THINK]", is_control: true }] }));
    expect([...named.encodeIds("[THINK]")]).toEqual([3]);
  });

  it("leaves out what lies beyond the vocabulary, and puts BOS in front", () => {
    const smaller = { ...config, default_vocab_size: 300 + numSpecial };
    const json = JSON.stringify({ config: smaller, vocab });
    const tokenizer = loadTokenizer({ "tekken.json": json });
    expect(tokenizer.vocabSize).toBe(300 + numSpecial);
    expect(tokenizer.encodeIds("Hello")[0]).toBe(1);
  });

  it("refuses damaged files", () => {
    expect(() => fromTekken("[")).toThrow(/^fromTekken: tekken.json must be JSON; got 1 characters/);
    expect(() => fromTekken(file({ vocab: vocab.slice(5) }))).toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: fromTekken: tekken.json vocab must be a list with all 256 bytes; got 251. Correct the file.]`,
    );
    expect(() => fromTekken(file({ config: {} }))).toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: fromTekken: tekken.json config.default_num_special_tokens must be a whole number; got undefined. Correct the file.]`,
    );
    expect(() => fromTekken(file({ vocab: [{ rank: 1 }] }))).toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: fromTekken: tekken.json vocab[0] must be a rank and base64 token_bytes; got {"rank":1}. Correct the file.]`,
    );
    expect(() => fromTekken(file({ special_tokens: [{ rank: 20 }] }))).toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: fromTekken: tekken.json special_tokens[0] must be a name and a rank below 20; got {"rank":20}. Correct the file.]`,
    );
  });
});
