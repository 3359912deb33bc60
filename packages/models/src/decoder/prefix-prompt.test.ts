import { prefix } from "@heddle/attention";
import { disposeTree, tensor } from "@heddle/tensor";
import { describe, expect, test } from "vitest";
import { devices } from "../../test/devices.js";
import { goldenConfig, goldenSource } from "../../test/golden-model.js";
import { relativeError } from "../../test/relative-error.js";
import { fullAttend } from "../blocks/attend.js";
import { beamSearch } from "../generation/beam-search.js";
import { contrastiveSearch } from "../generation/contrastive-search.js";
import { generate } from "../generation/generate.js";
import { argmaxOf } from "../generation/sampling/scores.js";
import { type LoadedModel, loadModel } from "../loading/load-model.js";
import { configToJson, parseConfig } from "../loading/parse-config.js";
import { createDecoder } from "./create-decoder.js";
import { decoderLogits } from "./decoder.js";
import type { Decoder } from "./decoder-interface.js";

/** Rotary, learned and ALiBi positions, latents, windows and soft-caps, sinks. */
const names = ["llama", "gpt2", "mpt", "bloom", "deepseek_v3", "gemma2", "gpt_oss"];
const text = [5, 9, 3, 17, 11, 2, 8, 30, 6, 21, 4];

/** Logits of every token of a text whose first `numPrefix` tokens see each other, computed whole. */
async function whole({ config, weights, device }: LoadedModel, ids: readonly number[], numPrefix: number) {
  const inputs = {
    ids: tensor(device, Int32Array.from(ids), { shape: [1, ids.length] }),
    lengths: tensor(device, Int32Array.of(numPrefix)),
  };
  const attend = fullAttend({ mask: prefix(inputs.lengths) });
  const logits = decoderLogits(config, weights, { ids: inputs.ids, attend });
  const data = Array.from(await logits.data());
  disposeTree([inputs, logits]);
  return ids.map((_, at) => data.slice(at * config.vocabSize, (at + 1) * config.vocabSize));
}

async function step(decoder: Decoder, id: number, position: number, slot: number): Promise<Float32Array> {
  const [logits = new Float32Array(0)] = await decoder.step({
    tokens: Int32Array.of(id),
    positions: Int32Array.of(position),
    slots: Int32Array.of(slot),
    outputs: Int32Array.of(0),
  });
  return logits;
}

describe.each(devices)("$name", ({ name: deviceName, make, tolerance }) => {
  const few = ["llama", "mpt", "deepseek_v3"]; // the slow device need not see all kinds
  test.each(deviceName === "reference" ? few : names)(
    "%s: a prompt read whole, and steps behind it, are the whole computed anew",
    async (name) => {
      const device = make();
      const loaded = await loadModel(goldenSource(name), { device });
      const model = { ...loaded, config: { ...loaded.config, isPrefixLm: true } };
      const decoder = createDecoder(model, { numSlots: 2, maxSeqLen: text.length });
      // Another text in the other slot, and an older one in this, change nothing.
      await decoder.feedPrefix?.([1, 2, 3], 0);
      await decoder.feedPrefix?.(text.toReversed(), 1);
      for (const numPrefix of [5, 8]) {
        const expected = await whole(model, text, numPrefix);
        const first = (await decoder.feedPrefix?.(text.slice(0, numPrefix), 1)) ?? [];
        expect(relativeError(first, expected[numPrefix - 1] ?? [])).toBeLessThan(tolerance);
        for (let at = numPrefix; at < text.length; at++)
          expect(relativeError(await step(decoder, text[at] ?? 0, at, 1), expected[at] ?? [])).toBeLessThan(
            tolerance,
          );
        // It is not what a causal model says.
        const causal = await whole(model, text, 0);
        expect(relativeError(first, causal[numPrefix - 1] ?? [])).toBeGreaterThan(0.01);
      }
      decoder.dispose();
      loaded.dispose();
      expect(device.memory().buffers).toBe(0);
      device.dispose();
    },
  );
});

test("generate and beam search feed prompts whole; MPT says so in its config.json", async () => {
  const [device] = devices.map(({ make }) => make());
  if (device === undefined) throw new Error("there is a device");
  const json = goldenConfig("mpt") as { attn_config: object };
  const config = parseConfig({ ...json, attn_config: { ...json.attn_config, prefix_lm: true } });
  expect(config.isPrefixLm).toBe(true);
  expect(configToJson(config)).toMatchObject({ attn_config: { prefix_lm: true } });
  const loaded = await loadModel(goldenSource("mpt"), { device });
  const model = { ...loaded, config };
  const expected = [...text.slice(0, 6)];
  for (let i = 0; i < 5; i++) expected.push(argmaxOf((await whole(model, expected, 6)).at(-1) ?? []));
  const options = { maxTokens: 5, temperature: 0, ignoreEos: true };
  const ids: number[] = [];
  for await (const { id } of generate(model, text.slice(0, 6), options)) ids.push(id);
  expect(ids).toEqual(expected.slice(6));
  const [beam] = await beamSearch(model, text.slice(0, 6), { numBeams: 1, maxTokens: 5, eosTokenIds: [] });
  expect(beam?.ids).toEqual(ids);
  await expect(contrastiveSearch(model, [1, 2])).rejects.toThrow(
    "read prompts causally; got one that does not",
  );
  loaded.dispose();
});

test("prompts that cannot be are errors; a causal model has no such prompts", async () => {
  const [device] = devices.map(({ make }) => make());
  if (device === undefined) throw new Error("there is a device");
  const loaded = await loadModel(goldenSource("llama"), { device });
  const causal = createDecoder(loaded, { numSlots: 1, maxSeqLen: 4 });
  expect(causal.feedPrefix).toBeUndefined();
  causal.dispose();
  const config = { ...loaded.config, isPrefixLm: true };
  const decoder = createDecoder({ ...loaded, config }, { numSlots: 1, maxSeqLen: 4 });
  const messageOf = (tokens: readonly number[], slot: number) =>
    decoder.feedPrefix?.(tokens, slot).then(String, (error: Error) => error.message);
  expect([
    await messageOf([], 0),
    await messageOf([1, 2, 3, 4, 5], 0),
    await messageOf([1], 1),
    await messageOf([9999], 0),
  ]).toMatchInlineSnapshot(`
    [
      "feedPrefix: a prompt must have at least one token; got none. Begin with the model's first token.",
      "step: each position must be below 4; got 4 at index 4. Check the batch against the decoder's sizes.",
      "step: each slot must be below 1; got 1 at index 0. Check the batch against the decoder's sizes.",
      "step: each token must be below 72; got 9999 at index 0. Check the batch against the decoder's sizes.",
    ]
  `);
  const both = await Promise.allSettled([decoder.feedPrefix?.([1], 0), decoder.feedPrefix?.([1], 0)]);
  expect(both.map(({ status }) => status)).toEqual(["fulfilled", "rejected"]);
  decoder.dispose();
  loaded.dispose();
  expect(device.memory().buffers).toBe(0);
});
