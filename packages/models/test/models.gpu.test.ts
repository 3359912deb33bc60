import { type Device, reference } from "@heddle/tensor";
import { afterAll, expect, test } from "vitest";
import { findDevice } from "../../gpu/test/find-device.js";
import { createDecoder } from "../src/decoder/create-decoder.js";
import { generate } from "../src/generation/generate.js";
import { loadModel } from "../src/loading/load-model.js";
import { goldenExpected, goldenSource, rowsOf } from "./golden-model.js";
import { describeGoldenModels } from "./golden-suite.js";

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
