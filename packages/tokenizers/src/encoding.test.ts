import { expect, it } from "vitest";
import { fromVocabTxt } from "./index.js";

it("byte offsets count each text of a pair by itself; added tokens and padding stand nowhere", () => {
  const tokenizer = fromVocabTxt("[PAD]\n[UNK]\n[CLS]\n[SEP]\né\na\n", { lowercase: false });
  const encoding = tokenizer.encode("é 😀 a", { pair: "aé a" });
  expect(encoding.tokens).toEqual(["[CLS]", "é", "😀", "a", "[SEP]", "aé", "a", "[SEP]"].map(name));
  const ranges = [
    [0, 0],
    [0, 2],
    [3, 7],
    [8, 9],
    [0, 0],
    [0, 3],
    [4, 5],
    [0, 0],
  ];
  expect(encoding.byteOffsets).toEqual(ranges);
  expect(encoding.padded(9, {}).byteOffsets).toEqual([...ranges, [0, 0]]);
});

/** What the vocabulary does not cover is shown as the unknown token. */
function name(surface: string): string {
  return surface === "😀" || surface === "aé" ? "[UNK]" : surface;
}
