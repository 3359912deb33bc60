import { cpu, disposeTree } from "@heddle/tensor";
import { expect, test } from "vitest";
import { goldenSource } from "../../test/golden-model.js";
import { packedSource } from "../../test/packed-golden.js";
import { encoder } from "../encoder/encoder-architecture.js";
import { loadModel, loadModelOf } from "../loading/load-model.js";
import { recurrent } from "../recurrent/recurrent-architecture.js";
import { seq2seq } from "../seq2seq/seq2seq-architecture.js";
import { attentionPatterns } from "./attention-patterns.js";
import { inspectModel } from "./inspect-model.js";

test.each(["llama", "gemma2", "mpt", "deepseek_v3"])(
  "%s: rows of every head sum to 1 over the tokens before",
  async (name) => {
    const device = cpu({ threads: 1 });
    const model = await loadModel(goldenSource(name), { device });
    const before = device.memory().buffers;
    const ids = [5, 9, 3, 7, 1];
    for (let layer = 0; layer < model.config.numLayers; layer++) {
      const maps = await attentionPatterns(model, ids, { layer, labels: ["a", "b", "c", "d", "e"] });
      expect(maps).toHaveLength(model.config.numHeads);
      for (const { rows, columns, values, rowLabels } of maps) {
        expect([rows, columns, rowLabels?.length]).toEqual([5, 5, 5]);
        for (let row = 0; row < 5; row++) {
          const weights = Array.from(values.subarray(row * 5, row * 5 + 5));
          expect(weights.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 5);
          expect(weights.slice(row + 1).every((weight) => weight === 0)).toBe(true);
        }
      }
    }
    expect(device.memory().buffers).toBe(before);
    await expect(attentionPatterns(model, ids, { layer: 99 })).rejects.toThrow(
      /layer must be a whole number below \d+; got layer 99/,
    );
    await expect(attentionPatterns(model, [], { layer: 0 })).rejects.toThrow(
      "there must be a token; got 0 ids",
    );
    device.dispose();
  },
);

test("weights of half precision give patterns of that precision", async () => {
  const device = cpu({ threads: 1 });
  const model = await loadModel(goldenSource("llama_sharded_bf16"), { device });
  const [map] = await attentionPatterns(model, [5, 9, 3], { layer: 1 });
  const sum = map?.values.subarray(6, 9).reduce((a, b) => a + b, 0);
  expect(sum).toBeCloseTo(1, 1);
  model.dispose();
  device.dispose();
});

test("what attention sinks take is missing from the rows", async () => {
  const device = cpu({ threads: 1 });
  const model = await loadModel(goldenSource("gpt_oss"), { device });
  const maps = await attentionPatterns(model, [5, 9, 3], { layer: 0 });
  for (const { values } of maps) {
    for (let row = 0; row < 3; row++) {
      const sum = values.subarray(row * 3, row * 3 + 3).reduce((a, b) => a + b, 0);
      expect(sum).toBeGreaterThan(0);
      expect(sum).toBeLessThan(0.999);
    }
  }
  model.dispose();
  device.dispose();
});

test("an encoder's tokens look both ways", async () => {
  const device = cpu({ threads: 1 });
  const model = await loadModelOf(encoder, packedSource("bert"), { device });
  const before = device.memory().buffers;
  for (const { values } of await attentionPatterns(model, [5, 9, 3], { layer: 1 })) {
    for (let row = 0; row < 3; row++) {
      const weights = Array.from(values.subarray(row * 3, row * 3 + 3));
      expect(weights.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 5);
      expect(Math.min(...weights)).toBeGreaterThan(0);
    }
  }
  expect(device.memory().buffers).toBe(before);
  model.dispose();
  device.dispose();
});

test("models of one stack are looked into by rows of ids", async () => {
  const device = cpu({ threads: 1 });
  const models = [
    await loadModel(goldenSource("llama"), { device }),
    await loadModelOf(encoder, packedSource("bert"), { device }),
    await loadModelOf(recurrent, packedSource("mamba"), { device }),
  ];
  for (const model of models) {
    const before = device.memory().buffers;
    const seen = inspectModel(model, { ids: [[5, 9, 3]] }, { keep: ["residual"], layers: [0, 1] });
    expect(seen.residual?.map(({ shape }) => shape)).toEqual([
      [1, 3, model.config.modelDim],
      [1, 3, model.config.modelDim],
    ]);
    disposeTree(seen);
    expect(device.memory().buffers).toBe(before);
    model.dispose();
  }
  const t5 = await loadModelOf(seq2seq, packedSource("t5"), { device });
  expect(() => inspectModel(t5, { ids: [[1]] }, {})).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: inspectModel: the model must have one stack of layers; got a t5 model of architecture "encoder-decoder". Pass \`inspect\` to seq2seqHidden.]`,
  );
  t5.dispose();
  expect(device.memory().buffers).toBe(0);
  device.dispose();
});
