import { webgpu } from "@heddle/gpu";
import { reference } from "@heddle/tensor";
import { afterAll, expect, test } from "vitest";
import { createDecoder } from "../src/create-decoder.js";
import { generate } from "../src/generate.js";
import { loadModel } from "../src/load-model.js";
import { goldenExpected, goldenSource, rowsOf } from "./golden-model.js";
import { describeGoldenModels } from "./golden-suite.js";

const found = await webgpu().then(
  (device) => ({ device, reason: "" }),
  (error: unknown) => ({ device: undefined, reason: String(error) }),
);
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
