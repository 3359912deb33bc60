import { type WebGpuDevice, webgpu } from "@heddle/gpu";
import { HeddleError, RowPieces, type Tensor } from "@heddle/tensor";
import { afterAll, describe, expect, test } from "vitest";
import { findDevice } from "../../gpu/test/find-device.js";
import { overriddenDevice } from "../../gpu/test/overridden-device.js";
import { planMemory } from "../src/costs/plan-memory.js";
import { batchInputs } from "../src/decoder/batch-inputs.js";
import { createDecoder } from "../src/decoder/create-decoder.js";
import { generate } from "../src/generation/generate.js";
import { loadModel } from "../src/loading/load-model.js";
import { goldenExpected, goldenSource, rowsOf } from "./golden-model.js";
import { relativeError } from "./relative-error.js";

const { device, reason } = await findDevice();
afterAll(() => device?.dispose());

/** A device that binds, and holds, so few bytes at once, on the same GPU. */
async function deviceOf(limitBytes: number, { native }: WebGpuDevice): Promise<WebGpuDevice> {
  const limits = overriddenDevice(native.limits, { maxStorageBufferBindingSize: limitBytes });
  return webgpu({ device: overriddenDevice(native, { limits }) });
}

if (device === undefined) test.skip(`tensors beyond the limits of an adapter: ${reason}`);
else {
  describe.each(["llama", "qwen2"])(
    "%s on an adapter whose bindings are smaller than its matrices",
    (name) => {
      test("loads them in pieces of rows and gives the golden logits and tokens", async () => {
        const golden = await goldenExpected(name);
        const first = await loadModel(goldenSource(name), { device });
        const whole = planMemory(first.config);
        first.dispose();
        // Three pieces of the table.
        const limit = Math.ceil(whole.largest.bytes / 2.5 / 16) * 16;
        const small = await deviceOf(limit, device);
        const model = await loadModel(goldenSource(name), { device: small });
        expect(small.limits.maxBufferBytes).toBe(limit);
        const { embedding } = model.weights;
        if (!(embedding instanceof RowPieces)) throw new Error("the table is in pieces");
        expect(embedding.pieces.length).toBe(3);
        for (const piece of embedding.pieces) expect((piece as Tensor).byteLength).toBeLessThanOrEqual(limit);
        expect(small.memory().bytes).toBe(whole.weightBytes);

        const inputs = batchInputs(model, rowsOf(golden["basic.input_ids"]).slice(0, 1));
        const logits = model.forward(inputs);
        const values = await logits.data();
        const expected = golden["basic.logits"]?.data.slice(0, values.length) ?? [];
        expect(relativeError(values, expected)).toBeLessThan(1e-4);
        inputs.dispose();
        logits.dispose();

        const [prompt = []] = rowsOf(golden["greedy.prompt"]);
        const ids: number[] = [];
        for await (const { id } of generate(model, prompt, { temperature: 0, maxTokens: 8, ignoreEos: true }))
          ids.push(id);
        expect(ids).toEqual(rowsOf(golden["greedy.ids"])[0]?.slice(0, 8));
        model.dispose();
        expect(small.memory().buffers).toBe(0);
        small.dispose();
      });
    },
  );

  test("what is stored the other way round cannot be cut: planMemory and loading say so, and leave nothing", async () => {
    const model = await loadModel(goldenSource("gpt2"), { device });
    const { config } = model;
    model.dispose();
    const small = await deviceOf(4096, device);
    expect(() => planMemory(config, { device: small })).toThrow(
      /each tensor must fit into 4096 bytes on the webgpu device/,
    );
    await expect(loadModel(goldenSource("gpt2"), { device: small })).rejects.toThrow(
      /one tensor may take at most 4096 bytes on this adapter/,
    );
    expect(small.memory().buffers).toBe(0);
    small.dispose();
  });

  test("what planMemory refuses does not fit, and what it lets pass does", async () => {
    const model = await loadModel(goldenSource("llama"), { device });
    const { config } = model;
    model.dispose();
    const sizes = { numSlots: 2, maxSeqLen: 64 };
    const cacheBytes = sizes.numSlots * config.numKvHeads * sizes.maxSeqLen * config.headDim * 4;
    for (const limit of [cacheBytes - 16, cacheBytes]) {
      const small = await deviceOf(limit, device);
      const loaded = await loadModel(goldenSource("llama"), { device: small });
      const plan = () => planMemory(config, { ...sizes, device: small });
      const decode = () => createDecoder(loaded, sizes);
      if (limit < cacheBytes) {
        expect(plan).toThrow(/got cache\.0\.key f32\[2, \d+, 64, \d+\]/);
        expect(decode).toThrow(HeddleError);
        expect(decode).toThrow(/one tensor may take at most \d+ bytes on this adapter/);
      } else {
        expect(plan().totalBytes).toBeGreaterThan(limit);
        decode().dispose();
      }
      loaded.dispose();
      expect(small.memory().buffers).toBe(0);
      small.dispose();
    }
  });
}
