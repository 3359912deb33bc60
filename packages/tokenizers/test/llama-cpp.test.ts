import { describe, expect, test } from "vitest";
import { fromGgufVocabulary, type GgufVocabulary } from "../src/index.js";
import { goldenJson } from "./golden.js";

/** A vocabulary cut down to what the texts can use; the other ids are filled with unused tokens. */
interface GoldenVocabulary extends Pick<GgufVocabulary, "model" | "pre" | "merges"> {
  readonly numTokens: number;
  readonly tokens: readonly (readonly [id: number, text: string, type: number, score?: number])[];
  readonly bosId?: number;
  readonly eosId?: number;
  readonly unkId?: number;
  readonly addBos?: boolean;
  readonly addSpacePrefix?: boolean;
  readonly texts?: readonly string[];
  readonly expected: readonly (readonly number[])[];
}

const { texts, ...vocabularies } = goldenJson<
  Record<string, GoldenVocabulary> & { readonly texts: readonly string[] }
>("gguf/vocabularies.json.gz");

function vocabularyOf(golden: GoldenVocabulary): GgufVocabulary {
  const { model, pre, merges, numTokens, bosId: bos, eosId: eos, unkId: unk } = golden;
  const tokens = Array.from({ length: numTokens }, (_, id) => `<|filler ${id}|>`);
  const types = new Int32Array(numTokens).fill(5);
  const scores = new Float32Array(numTokens).fill(-1e6);
  for (const [id, text, type, score = 0] of golden.tokens) {
    tokens[id] = text;
    types[id] = type;
    scores[id] = score;
  }
  const flags = { addBos: golden.addBos, addSpacePrefix: golden.addSpacePrefix };
  return { model, pre, merges, tokens, types, scores, ids: { bos, eos, unk }, flags };
}

describe.each(Object.entries(vocabularies))("the vocabulary %s", (_, golden) => {
  const tokenizer = fromGgufVocabulary(vocabularyOf(golden));
  const all = golden.texts ?? texts;

  test("gives the ids of llama.cpp", () => {
    expect(golden.expected.length).toBe(all.length);
    const ids = all.map((text) => [...tokenizer.encodeIds(text, { addSpecialTokens: false })]);
    expect(ids).toEqual(golden.expected);
  });

  test("decodes to the text", () => {
    expect(golden.expected.map((ids) => tokenizer.decode(ids))).toEqual(all);
  });
});
