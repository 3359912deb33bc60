import { fromTokenizerJson } from "@heddle/tokenizers";
import { describe, expect, it } from "vitest";
import { createServedTokenizer } from "./served-tokenizer.js";

const byteLevel = { type: "ByteLevel", add_prefix_space: false, trim_offsets: false, use_regex: true };

/** A small byte-level tokenizer; `Ġ` is a space, `Ã` and `©` are the bytes of é. */
function smallTokenizer() {
  const vocab = ["a", "b", "Ġ", "Ã", "©", "Ġa", "Ã©"];
  return createServedTokenizer(
    fromTokenizerJson({
      version: "1.0",
      added_tokens: [
        {
          id: 7,
          content: "<end>",
          special: true,
          single_word: false,
          lstrip: false,
          rstrip: false,
          normalized: false,
        },
      ],
      normalizer: null,
      pre_tokenizer: byteLevel,
      post_processor: null,
      decoder: byteLevel,
      model: {
        type: "BPE",
        vocab: Object.fromEntries(vocab.map((token, id) => [token, id])),
        merges: [
          ["Ġ", "a"],
          ["Ã", "©"],
        ],
      },
    }),
  );
}

describe("createServedTokenizer", () => {
  it("has no text for rows of a vocabulary that stand for no token", () => {
    expect(smallTokenizer().tokenText(999)).toBe("");
  });

  it("encodes, and decodes behind a prompt without special tokens", () => {
    const tokenizer = smallTokenizer();
    expect(tokenizer.encode("ab a")).toEqual([0, 1, 5]);
    const decoder = tokenizer.createDecoder([0]);
    expect([5, 3, 4, 7].map((id) => decoder.push(id))).toEqual([" a", "", "é", ""]);
    expect(decoder.flush()).toBe("");
  });

  it("shows tokens with their ids and offsets", () => {
    expect(smallTokenizer().tokenize("a é")).toEqual({
      ids: [0, 2, 6],
      tokens: ["a", "Ġ", "Ã©"],
      offsets: [
        [0, 1],
        [1, 2],
        [2, 3],
      ],
    });
  });

  it("names the text of one token: spaces kept, parts of characters replaced, special tokens by name", () => {
    const tokenizer = smallTokenizer();
    expect([5, 6, 3, 7].map(tokenizer.tokenText)).toEqual([" a", "é", "\ufffd", "<end>"]);
  });
});
