import { describe, expect, it } from "vitest";
import {
  colorTokens,
  createByteTokenizer,
  fromSentencePiece,
  fromTokenizerJson,
  spanTokens,
  type Tokenizer,
} from "../src/index.js";
import { goldenBytes, goldenJson, goldenStrings } from "./golden.js";

const tokenizers: [string, Tokenizer][] = [
  ["bytes", createByteTokenizer()],
  ["byte-level BPE", fromTokenizerJson(goldenJson("hf/bpe_split_regex/tokenizer.json.gz"))],
  ["WordPiece", fromTokenizerJson(goldenJson("hf/wordpiece/tokenizer.json.gz"))],
  [
    "SentencePiece",
    fromSentencePiece(goldenBytes("sentencepiece/bpe_identity_bf.model.gz"), { addBosToken: true }),
  ],
];

describe.each(tokenizers)("spans of %s", (_name, tokenizer) => {
  it("join to the text and hold each token once, in order", () => {
    for (const text of goldenStrings) {
      const encoding = tokenizer.encode(text);
      const spans = spanTokens(text, encoding);
      expect(spans.map((span) => span.text).join("")).toBe(text);
      expect(spans.flatMap((span) => span.tokens)).toEqual(Array.from(encoding.ids, (_, i) => i));
      for (const { start, end, text: part } of spans) expect(text.slice(start, end)).toBe(part);
    }
  });
});

describe("colorTokens", () => {
  const esc = "\u001b";
  const plain = (text: string) => text.replaceAll(new RegExp(`${esc}\\[[0-9;]*m`, "g"), "");

  it("puts tokens on grounds that take turns, and counts", () => {
    const text = "é\tb\n";
    const colored = colorTokens(text, createByteTokenizer().encode(text));
    expect(colored.replaceAll(esc, "^")).toMatchInlineSnapshot(`
      "^[48;5;223;38;5;16mé×2^[0m^[48;5;153;38;5;16m⇥^[0m^[48;5;188;38;5;16mb^[0m^[48;5;151;38;5;16m⏎^[0m

      ^[2m5 tokens, 0.80 characters each^[0m
      ^[2m195 169 9 98 10^[0m"
    `);
  });

  it("lets no control character of the text through", () => {
    const text = `a${esc}[31mb\u0007\u202ec\r`;
    const colored = colorTokens(text, createByteTokenizer().encode(text), { ids: false });
    expect(plain(colored)).toBe("a·[31mb··×3c·\n13 tokens, 0.85 characters each");
  });

  it("names added tokens and shows what no token stands for", () => {
    const tokenizer = fromTokenizerJson(goldenJson("hf/wordpiece/tokenizer.json.gz"));
    const text = "the  cat";
    const colored = colorTokens(text, tokenizer.encode(text), { ids: false });
    expect(plain(colored).split("\n")[0]).toBe("[CLS]the  cat[SEP]");
  });
});
