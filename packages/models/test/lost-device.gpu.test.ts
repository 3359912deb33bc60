import type { WebGpuDevice } from "@heddle/gpu";
import { HeddleError } from "@heddle/tensor";
import { describe, expect, test } from "vitest";
import { findDevice, testDevice } from "../../gpu/test/find-device.js";
import { createDecoder } from "../src/decoder/create-decoder.js";
import { type GenerateOptions, generate } from "../src/generation/generate.js";
import { loadModel } from "../src/loading/load-model.js";
import { goldenSource } from "./golden-model.js";

const found = await findDevice();
found.device?.dispose();

const prompt = [1, 5, 9];
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** Loses the device after some tokens, and gives what the generation ends with and the tokens before. */
async function losing(device: WebGpuDevice, options: GenerateOptions, { after, pauseMs = 0 }: Losing) {
  const model = await loadModel(goldenSource("llama"), { device });
  const ids: number[] = [];
  let error: unknown;
  try {
    if (after === 0) queueMicrotask(() => device.native.destroy());
    for await (const { id } of generate(model, prompt, { maxTokens: 60, ignoreEos: true, ...options })) {
      ids.push(id);
      if (ids.length !== after) continue;
      device.native.destroy();
      await pause(pauseMs);
    }
  } catch (caught) {
    error = caught;
  }
  // Nothing is left to free on a device that is gone, and freeing it is no error.
  model.dispose();
  return { ids, error };
}

interface Losing {
  /** Tokens until the device is lost; 0: while the prompt is fed. */
  readonly after: number;
  /** How long the reader of the tokens then looks away. */
  readonly pauseMs?: number;
}

if (found.device === undefined) test.skip(`a device lost during generation: ${found.reason}`);
else {
  describe("a device that is lost during generation ends it with a HeddleError", () => {
    test.each<[string, GenerateOptions, Losing]>([
      ["while the prompt is fed", { temperature: 0 }, { after: 0 }],
      ["tokens chosen on the device", { temperature: 0 }, { after: 5 }],
      ["tokens drawn on the device, read late", { temperature: 0.8, seed: 1 }, { after: 9, pauseMs: 200 }],
      ["tokens chosen on the host", { temperature: 0, processors: [(logits) => logits] }, { after: 3 }],
    ])("%s", async (_name, options, how) => {
      const device = await testDevice();
      const { ids, error } = await losing(device, options, how);
      expect(ids.length).toBeGreaterThanOrEqual(how.after);
      expect(ids.length).toBeLessThan(60);
      if (!HeddleError.is(error)) throw new Error(`expected a HeddleError; got ${error}`);
      expect(error.code).toBe("device");
      expect(error.message).toMatch(
        /^webgpu: the GPU device must be there; got lost \(destroyed\): .* make a new device with webgpu\(\) and load again\.$/s,
      );
      device.dispose();
    });
  });

  test("a decoder of a lost device refuses every step; on a new one the model gives the same tokens", async () => {
    const generated = async (on: WebGpuDevice) => {
      const model = await loadModel(goldenSource("llama"), { device: on });
      const ids: number[] = [];
      for await (const { id } of generate(model, prompt, { temperature: 0, maxTokens: 8, ignoreEos: true }))
        ids.push(id);
      model.dispose();
      return ids;
    };
    const device = await testDevice();
    const wanted = await generated(device);
    const model = await loadModel(goldenSource("llama"), { device });
    const decoder = createDecoder(model, { numSlots: 1, maxSeqLen: 16 });
    const one = Int32Array.of(0);
    const batch = { tokens: one, positions: one, slots: one, outputs: one };
    expect(await decoder.step(batch)).toHaveLength(1);
    device.native.destroy();
    for (let i = 0; i < 2; i++) {
      await expect(decoder.step(batch)).rejects.toThrow(HeddleError);
      await pause(5);
    }
    decoder.dispose();
    model.dispose();
    device.dispose();
    const next = await testDevice();
    expect(await generated(next)).toEqual(wanted);
    expect(next.memory().buffers).toBe(0);
    next.dispose();
  });
}
