import { memorySource } from "@heddle/checkpoints";
import { cpu, type Device, reference } from "@heddle/tensor";
import { afterAll, describe, expect, test } from "vitest";
import { findDevice } from "../../gpu/test/find-device.js";
import { createDecoder } from "../src/decoder/create-decoder.js";
import { generate } from "../src/generation/generate.js";
import { loadAnyModel, loadModel } from "../src/loading/load-model.js";
import { goldenConfig, goldenExpected, goldenFiles, goldenSource, rowsOf } from "./golden-model.js";
import { describeGoldenModels } from "./golden-suite.js";
import { madeConfigs, madeSource } from "./made-model.js";
import { relativeError } from "./relative-error.js";
import { shows } from "./shows.js";

const found = await findDevice();
afterAll(() => found.device?.dispose());
const { device } = found;

if (device === undefined) test.skip(`models on WebGPU: ${found.reason}`);
else {
  describeGoldenModels({ name: "webgpu", make: () => device, tolerance: 1e-4, isShared: true });

  test("greedy ids are those of Hugging Face", async () => {
    const golden = await goldenExpected("llama");
    const [prompt = []] = rowsOf(golden["greedy.prompt"]);
    const [ids = []] = rowsOf(golden["greedy.ids"]);
    const before = device.memory().buffers;
    const model = await loadModel(goldenSource("llama"), { device });
    const tokens: number[] = [];
    for await (const { id } of generate(model, prompt, { temperature: 0, maxTokens: 16, ignoreEos: true }))
      tokens.push(id);
    expect(tokens).toEqual(ids);
    model.dispose();
    expect(device.memory().buffers).toBe(before);
  });

  test("drawn ids are those of the reference, also where the device draws; stopping early leaves nothing behind", async () => {
    const draws = async (on: Device, maxTokens: number, take = maxTokens) => {
      const before = on.memory().buffers;
      const model = await loadModel(goldenSource("llama"), { device: on });
      const ids: number[] = [];
      const options = { temperature: 0.8, seed: 5, maxTokens, ignoreEos: true };
      for await (const { id, logprob } of generate(model, [1, 5, 9], options)) {
        expect(logprob).toBeLessThanOrEqual(0);
        if (ids.push(id) === take) break;
      }
      model.dispose();
      expect(on.memory().buffers).toBe(before);
      return ids;
    };
    const wanted = await draws(reference(), 40);
    expect(new Set(wanted).size).toBeGreaterThan(10);
    expect(await draws(device, 40)).toEqual(wanted);
    expect(await draws(device, 40, 7)).toEqual(wanted.slice(0, 7));
  });

  test("no step may run beside a decoder that goes on by itself", async () => {
    const model = await loadModel(goldenSource("llama"), { device });
    const decoder = createDecoder(model, { numSlots: 1, maxSeqLen: 16 });
    const one = Int32Array.of(0);
    const batch = { tokens: one, positions: one, slots: one, outputs: one };
    await decoder.step(batch);
    const going = decoder.ahead?.({ slot: 0, token: 3, position: 1, steps: 9, temperature: 0 });
    expect((await going?.next())?.done).toBe(false);
    await expect(decoder.step(batch)).rejects.toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: step: calls must not overlap; got one while another runs. Await the first.]`,
    );
    await going?.return();
    expect(await decoder.step(batch)).toHaveLength(1);
    decoder.dispose();
    model.dispose();
  });

  describe.each(Object.entries(madeConfigs))("%s", (_, json) => {
    test("logits are those of the CPU", shows(String(json.model_type), "WebGPU"), async () => {
      const on = async (where: Device) => {
        const before = where.memory().buffers;
        const model = await loadAnyModel(await madeSource(json), { device: where });
        const logits = model.logits({
          ids: [
            [3, 17, 5, 8, 2, 30, 21],
            [6, 11, 9, 25, 8, 4, 33],
          ],
        });
        const values = await logits.data();
        logits.dispose();
        model.dispose();
        expect(where.memory().buffers).toBe(before);
        return values;
      };
      const host = cpu({ threads: 1 });
      expect(relativeError(await on(device), await on(host))).toBeLessThan(1e-4);
      host.dispose();
    });
  });

  // A prompt of ChatGLM ends in a start, 8, whose span stands for a mark before it, 5 or 6.
  describe.each([
    ["chatglm", () => madeSource(madeConfigs.ChatGLM ?? {})],
    ["mpt", prefixMptSource],
  ] as const)("a prefix language model, %s", (family, source) => {
    const prompts = [
      [3, 17, 30, 11, 5, 8],
      [3, 6, 11, 9, 25, 31, 8],
    ];
    /** Tokens of both slots, step by step. */
    const next = [
      [2, 19],
      [21, 7],
      [4, 33],
    ];

    test(
      "prompts read whole, steps behind them and greedy ids are those of the CPU",
      shows(family, "WebGPU"),
      async () => {
        const on = async (where: Device) => {
          const before = where.memory().buffers;
          const model = await loadModel(await source(), { device: where });
          const decoder = createDecoder(model, { numSlots: 2, maxSeqLen: 16 });
          const logits: Float32Array[] = [];
          for (const [slot, prompt] of prompts.entries()) {
            const row = await decoder.feedPrefix?.(prompt, slot);
            logits.push(row?.slice() ?? new Float32Array(0));
          }
          for (const [at, tokens] of next.entries()) {
            const rows = await decoder.step({
              tokens: Int32Array.from(tokens),
              positions: Int32Array.from(prompts, ({ length }) => length + at),
              slots: Int32Array.of(0, 1),
              outputs: Int32Array.of(0, 1),
            });
            logits.push(...rows.map((row) => row.slice()));
          }
          decoder.dispose();
          const ids: number[] = [];
          const options = { temperature: 0, maxTokens: 6, ignoreEos: true };
          for await (const { id } of generate(model, prompts[1] ?? [], options)) ids.push(id);
          model.dispose();
          expect(where.memory().buffers).toBe(before);
          return { logits, ids };
        };
        const host = cpu({ threads: 1 });
        const [found, wanted] = [await on(device), await on(host)];
        host.dispose();
        expect(found.logits).toHaveLength(prompts.length * (1 + next.length));
        for (const [at, row] of found.logits.entries()) {
          expect(row.length).toBeGreaterThan(0);
          expect(relativeError(row, wanted.logits[at] ?? []), `row ${at}`).toBeLessThan(1e-4);
        }
        expect(found.ids).toEqual(wanted.ids);
      },
    );
  });

  test("a decoder of several slots gives the logits of the reference, launched in WGSL alone", async () => {
    const batch = {
      tokens: Int32Array.of(5, 9, 12, 3, 8),
      positions: Int32Array.of(0, 1, 2, 0, 1),
      slots: Int32Array.of(1, 1, 1, 0, 0),
      outputs: Int32Array.of(2, 4),
    };
    const logits = await Promise.all(
      [device, reference()].map(async (on) => {
        const model = await loadModel(goldenSource("llama"), { device: on });
        const decoder = createDecoder(model, { numSlots: 2, maxSeqLen: 16 });
        const rows = await decoder.step(batch);
        decoder.dispose();
        model.dispose();
        return rows.map((row) => Array.from(row));
      }),
    );
    for (const [row, values] of (logits[0] ?? []).entries())
      for (const [at, value] of values.entries())
        expect(value).toBeCloseTo(logits[1]?.[row]?.[at] ?? Number.NaN, 4);
  });
}

/** The golden MPT as a prefix language model. */
async function prefixMptSource() {
  const json = goldenConfig("mpt") as { readonly attn_config: object };
  const prefixed = { ...json, attn_config: { ...json.attn_config, prefix_lm: true } };
  return memorySource({
    ...goldenFiles("mpt"),
    "config.json": new TextEncoder().encode(JSON.stringify(prefixed)),
  });
}
