// Models whose prompts are read before and behind, many at once, against `generate`, which makes one answer at a time.
import { createDecoder, generate, type LoadedModel, loadModel } from "@heddle/models";
import { cpu, type Device } from "@heddle/tensor";
import { fromTokenizerJson } from "@heddle/tokenizers";
import { expect, test } from "vitest";
import { goldenSource } from "../../models/test/golden-model.js";
import { madeConfigs, madeSource } from "../../models/test/made-model.js";
import { collect } from "../src/collect.js";
import { createEngine } from "../src/engine.js";
import { prepareModel } from "../src/http/index.js";
import { byteTokenizer } from "./fake-model.js";

/** MPT as one of its family's prefix language models. */
async function loadMpt(device: Device): Promise<LoadedModel> {
  const model = await loadModel(goldenSource("mpt"), { device });
  return { ...model, config: { ...model.config, isPrefixLm: true } };
}

const loadChatGlm = async (device: Device) =>
  loadModel(await madeSource(madeConfigs.ChatGLM ?? {}), { device });

/** Prompts of several lengths, more than there are slots. */
const texts = [
  [3, 17, 5],
  [9, 2, 30, 11, 4, 7, 21],
  [1],
  [12, 13, 14, 15, 16, 18, 19, 20, 22, 23, 24, 25, 26, 27, 28, 29, 31],
  [33, 34],
];

test.each([
  ["MPT", loadMpt, (ids: number[]) => ids],
  ["ChatGLM", loadChatGlm, (ids: number[]) => [...ids, 5, 8]],
])("%s: every request gets the answer that it would get alone", async (_, load, asPrompt) => {
  const device = cpu({ threads: 1 });
  const model = await load(device);
  const decoder = createDecoder(model, { numSlots: 3, maxSeqLen: 32 });
  const engine = createEngine({ decoder, tokenizer: byteTokenizer, endOfTextIds: [], maxTokensPerStep: 8 });
  const prompts = texts.map((ids) => asPrompt(ids.filter((id) => id !== 5 && id !== 8)));
  const drawing = { maxTokens: 6, seed: 4, topK: 12, temperature: 0.9 };
  for (const options of [{ maxTokens: 6, temperature: 0 }, drawing]) {
    const answers = await Promise.all(
      prompts.map((prompt) => collect(engine.add({ prompt, ...options, ignoreEndOfText: true }))),
    );
    for (const [at, prompt] of prompts.entries()) {
      const alone: number[] = [];
      for await (const { id } of generate(model, prompt, { ...options, ignoreEos: true })) alone.push(id);
      expect(answers[at]?.events.map(({ id }) => id)).toEqual(alone);
    }
  }
  decoder.dispose();
  model.dispose();
  expect(device.memory().buffers).toBe(0);
});

test.each([
  ["MPT", loadMpt],
  ["ChatGLM", loadChatGlm],
])("%s can be warmed up", async (_, load) => {
  const device = cpu({ threads: 1 });
  const loaded = await load(device);
  const tokenizer = fromTokenizerJson({
    version: "1.0",
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: null,
    post_processor: null,
    decoder: null,
    model: { type: "BPE", vocab: { a: 0, b: 1 }, merges: [] },
  });
  const prepared = prepareModel({ ...loaded, tokenizer }, { id: "whole", numSlots: 3, maxSeqLen: 16 });
  await prepared.warmUp();
  await prepared.dispose();
  loaded.dispose();
  expect(device.memory().buffers).toBe(0);
});
