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

test("tokens come where they are forced, and no sooner than allowed", async () => {
  const forcedTokens = [
    [0, 9],
    [3, 70],
  ] as const;
  const tokens = await run({ temperature: 0, maxTokens: 4, ignoreEos: true, forcedTokens });
  expect([tokens[0]?.id, tokens[3]?.id]).toEqual([9, 70]);
  const { model, prompt, ids } = use();
  const [first = -1, second = -1] = ids;
  const ended = { ...model, generationConfig: { sampling: {}, eosTokenIds: [second] } };
  const late = await collect(generate(ended, prompt, { temperature: 0, minTokens: 3, maxTokens: 5 }));
  expect(late[0]?.id).toBe(first);
  expect(late.slice(0, 3).map(({ id }) => id)).not.toContain(second);
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
    await messageOf([1], { temperature: -1, maxTokens: 0 }),
    await messageOf([1], { minTokens: Number.NaN }),
    await messageOf([1], { maxTokens: 2.5 }),
    await messageOf([1], { stop: [3] as unknown as string[] }),
    await messageOf([1], { ignoreEos: "yes" as unknown as boolean }),
    await messageOf([1], { forcedTokens: [[2, 99]] }),
    await messageOf([1], { badWords: [[]] }),
    await messageOf([1], { seed: 0.5 }),
    await messageOf([1], { suppressTokens: Array.from({ length: 72 }, (_, id) => id) }),
    await messageOf([1], { temperature: 0, suppressTokens: Array.from({ length: 72 }, (_, id) => id) }),
    await messageOf([1], { numBeams: 2 } as GenerateOptions),
  ];
  expect(messages).toMatchInlineSnapshot(`
    [
      "generate: a text prompt needs a tokenizer; got a model without one. Pass token ids instead.",
      "generate: a prompt must have at least one token; got none. Begin with the model's first token.",
      "generate: a prompt must leave room for an answer; got 64 tokens, the longest sequence has 64. Shorten the prompt.",
      "generate: maxTokens must be a whole number >= 0; got -1. Change or leave it out.",
      "generate: stop strings need a tokenizer; got 1 and a model without one. Leave \`stop\` out.",
      "generate: temperature must be a number >= 0; got -1. Change or leave it out.",
      "generate: temperature must be a number >= 0; got -1. Change or leave it out.",
      "generate: minTokens must be a whole number >= 0; got NaN. Change or leave it out.",
      "generate: maxTokens must be a whole number >= 0; got 2.5. Change or leave it out.",
      "generate: stop must be a text or a list of texts; got [3]. Change or leave it out.",
      "generate: ignoreEos must be true or false; got yes. Change or leave it out.",
      "generate: forcedTokens must be ids in 0..71; got 99 at place 2. Encode the text with this model's own tokenizer.",
      "generate: badWords must be lists of one or more ids; got [[]]. Change or leave it out.",
      "generate: seed must be a whole number >= 0; got 0.5. Change or leave it out.",
      "sample: options must leave a token to choose; got none with a score above -Infinity. Ban fewer tokens.",
      "sample: options must leave a token to choose; got none with a score above -Infinity. Ban fewer tokens.",
      "generate: options must be among maxTokens, minTokens, forcedTokens, signal, repetitionPenalty, frequencyPenalty, presencePenalty, noRepeatNgramSize, badWords, suppressTokens, processors, stop, ignoreEos, decoder, temperature, topK, topP, minP, topH, typicalP, epsilonCutoff, etaCutoff, topNSigma, xtcProbability, xtcThreshold, seed, logprobs; got "numBeams". Remove or rename it.",
    ]
  `);
});
