import { reference } from "@heddle/tensor";
import { describe, expect, test } from "vitest";
import { goldenExpected, goldenSource, rowsOf } from "../../test/golden-model.js";
import { holdModel } from "../../test/held-model.js";
import { createDecoder } from "../decoder/create-decoder.js";
import { loadModel } from "../loading/load-model.js";
import { type GeneratedToken, type GenerateOptions, generate } from "./generate.js";

const use = holdModel(reference, async (device) => {
  const golden = await goldenExpected("llama");
  const [prompt = []] = rowsOf(golden["greedy.prompt"]);
  const [ids = []] = rowsOf(golden["greedy.ids"]);
  return { model: await loadModel(goldenSource("llama"), { device }), prompt, ids };
});

async function collect(tokens: AsyncIterable<GeneratedToken>): Promise<GeneratedToken[]> {
  const all: GeneratedToken[] = [];
  for await (const token of tokens) all.push(token);
  return all;
}

const run = (options: GenerateOptions) => collect(generate(use().model, use().prompt, options));

test("greedy ids are those of Hugging Face, the last one says why it is the last", async () => {
  const tokens = await run({ temperature: 0, maxTokens: 16, ignoreEos: true });
  expect(tokens.map(({ id }) => id)).toEqual(use().ids);
  expect(tokens.map(({ finishReason }) => finishReason)).toEqual([...Array(15).fill(undefined), "length"]);
});

test("without maxTokens a text runs to the longest sequence", async () => {
  const tokens = await run({ temperature: 0, ignoreEos: true });
  expect(tokens.length).toBe(64 - use().prompt.length);
});

test("an end-of-text token ends it", async () => {
  const { model, prompt, ids } = use();
  const ended = { ...model, generationConfig: { sampling: {}, eosTokenIds: [ids[3] ?? -1] } };
  const tokens = await collect(generate(ended, prompt, { temperature: 0 }));
  const firstEnd = ids.indexOf(ids[3] ?? -1) + 1;
  expect(tokens.length).toBe(firstEnd);
  expect(tokens.at(-1)).toMatchObject({ id: ids[3], finishReason: "stop" });
});

test("a seed gives the same text again; a decoder can be used again", async () => {
  const { model, prompt } = use();
  const decoder = createDecoder(model, { numSlots: 1 });
  const options = { seed: 3, maxTokens: 12, topK: 20, logprobs: 2, decoder };
  const first = await collect(generate(model, prompt, options));
  expect(await collect(generate(model, prompt, options))).toEqual(first);
  expect(await collect(generate(model, prompt, { ...options, seed: 4 }))).not.toEqual(first);
  expect(first[0]?.top?.length).toBe(2);
  decoder.dispose();
});

test("options of generation_config.json apply where none are given", async () => {
  const { model, prompt, ids } = use();
  const advised = { ...model, generationConfig: { eosTokenIds: [], sampling: { topK: 1 } } };
  const tokens = await collect(generate(advised, prompt, { maxTokens: 16 }));
  expect(tokens.map(({ id }) => id)).toEqual(ids);
});

describe("aborting", () => {
  test("ends the text with the signal's reason and frees the cache", async () => {
    const { device } = use();
    const before = device.memory().buffers;
    const controller = new AbortController();
    let count = 0;
    const text = (async () => {
      for await (const _ of generate(use().model, use().prompt, {
        signal: controller.signal,
        ignoreEos: true,
      })) {
        if (++count === 3) controller.abort(new Error("enough"));
      }
    })();
    await expect(text).rejects.toThrow("enough");
    expect(count).toBe(3);
    expect(device.memory().buffers).toBe(before);
  });

  test("leaving the loop frees the cache, too", async () => {
    const { device } = use();
    const before = device.memory().buffers;
    for await (const _ of generate(use().model, use().prompt)) break;
    expect(device.memory().buffers).toBe(before);
  });
});

test("what cannot be generated", async () => {
  const { model } = use();
  const messageOf = (prompt: string | number[], options: GenerateOptions = {}) =>
    collect(generate(model, prompt, options)).then(String, (error: Error) => error.message);
  const messages = [
    await messageOf("text"),
    await messageOf([]),
    await messageOf(new Array(64).fill(1)),
    await messageOf([1], { maxTokens: -1 }),
    await messageOf([1], { stop: "end" }),
    await messageOf([1], { temperature: -1 }),
  ];
  expect(messages).toMatchInlineSnapshot(`
    [
      "generate: a text prompt needs a tokenizer; got a model without one. Pass token ids instead.",
      "generate: a prompt must have at least one token; got none. Begin with the model's first token.",
      "generate: a prompt must leave room for an answer; got 64 tokens, the longest sequence has 64. Shorten the prompt.",
      "generate: maxTokens must be a whole number >= 0; got -1. Leave it out for up to 512.",
      "generate: stop strings need a tokenizer; got 1 and a model without one. Leave \`stop\` out.",
      "createSampler: temperature must be a number >= 0; got -1. Change or leave it out.",
    ]
  `);
});
