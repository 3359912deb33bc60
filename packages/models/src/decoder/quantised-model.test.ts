import { everyMatrix, type QuantScheme, QuantTensor, quantizeWeights } from "@heddle/quant";
import { cpu, disposeTree, type LinearWeight, reference, scope, Tensor } from "@heddle/tensor";
import { describe, expect, test } from "vitest";
import { goldenExpected, goldenSource, rowsOf } from "../../test/golden-model.js";
import { denseExperts, expertBytes, quantisedExperts } from "../../test/quantised-experts.js";
import { relativeError } from "../../test/relative-error.js";
import { loadModel } from "../loading/load-model.js";
import type { DecoderWeights } from "../weights.js";
import { batchInputs } from "./batch-inputs.js";
import { createDecoder } from "./create-decoder.js";
import { decoderLogits } from "./decoder.js";

const schemes: readonly (readonly [name: string, scheme: QuantScheme])[] = [
  ["8 bits a channel", { bits: 8 }],
  ["8 bits in groups of 32", { bits: 8, groupSize: 32 }],
  ["4 bits in groups of 32", { bits: 4, groupSize: 32 }],
  ["4 bits in groups of 32, asymmetric", { bits: 4, groupSize: 32, isSymmetric: false }],
];

/** Dense numbers of a quantised weight; its inputs are rounded to int8 in blocks of 32, as the CPU's kernels do, by plain ops. */
class RoundedInputs implements LinearWeight {
  constructor(readonly weight: Tensor) {}
  get inFeatures(): number {
    return this.weight.inFeatures;
  }
  get outFeatures(): number {
    return this.weight.outFeatures;
  }
  apply(x: Tensor): Tensor {
    return scope(x.device, () => {
      const filled = Math.ceil(this.inFeatures / 32) * 32;
      const rows = x.reshape([-1, this.inFeatures]).pad([
        [0, 0],
        [0, filled - this.inFeatures],
      ]);
      const blocks = rows.reshape([-1, filled / 32, 32]);
      const largest = blocks.abs().max({ axes: 2, keepDims: true }).maximum(1e-30);
      const codes = blocks.mul(largest.reciprocal().mul(127)).add(0.5).floor();
      const near = codes.mul(largest.div(127)).reshape([-1, filled]).narrow(1, 0, this.inFeatures);
      return near.reshape(x.shape).matmul(this.weight, { transposeB: true });
    });
  }
}

/** A tree of the same numbers, dense, with other linear weights. */
function dequantised(
  weights: DecoderWeights,
  made: Tensor[],
  wrap: (dense: Tensor) => LinearWeight,
): DecoderWeights {
  const dense = (weight: QuantTensor) => {
    const widened = weight.dequantize();
    made.push(widened);
    return widened;
  };
  const replace = (value: unknown): unknown => {
    if (value instanceof QuantTensor) return wrap(dense(value));
    if (value instanceof Tensor || typeof value !== "object" || value === null) return value;
    if (Array.isArray(value)) return value.map(replace);
    return Object.fromEntries(Object.entries(value).map(([name, child]) => [name, replace(child)]));
  };
  const { embedding, ...rest } = weights;
  const table = embedding instanceof QuantTensor ? dense(embedding) : embedding;
  return {
    ...(replace(rest) as DecoderWeights),
    embedding: table,
    unembedding: weights.unembedding ? (replace(weights.unembedding) as LinearWeight) : wrap(table as Tensor),
  };
}

describe("a model with quantised weights, embedding included", () => {
  test.each(schemes)(
    "%s: logits are those of the dequantised weights, but for int8 activations",
    async (_, scheme) => {
      const device = cpu({ threads: 2 });
      const model = await loadModel(goldenSource("llama"), { device });
      const golden = await goldenExpected("llama");
      const weights = await quantizeWeights(model.weights, everyMatrix(scheme));
      expect(weights.embedding).toBeInstanceOf(QuantTensor);
      const made: Tensor[] = [];
      const rounded = dequantised(weights, made, (dense) => new RoundedInputs(dense));
      const exact = dequantised(weights, made, (dense) => dense);
      const [prompt = []] = rowsOf(golden["long.input_ids"]);
      const inputs = batchInputs(model, [prompt]);
      using quantLogits = decoderLogits(model.config, weights, inputs);
      using roundedLogits = decoderLogits(model.config, rounded, inputs);
      using exactLogits = decoderLogits(model.config, exact, inputs);
      // The same but for f32 rounding, and for activations that this pushes over the border of two codes.
      expect(relativeError(await quantLogits.data(), await roundedLogits.data())).toBeLessThan(0.01);
      // Each product is off by up to 1/254 of a block's largest activation; this model's weights are random and large.
      expect(relativeError(await quantLogits.data(), await exactLogits.data())).toBeLessThan(0.1);
      const decoder = createDecoder({ config: model.config, weights, device }, { numSlots: 1 });
      const [last = new Float32Array(0)] = await decoder.step({
        tokens: Int32Array.from(prompt),
        positions: Int32Array.from(prompt.keys()),
        slots: new Int32Array(prompt.length),
        outputs: Int32Array.of(prompt.length - 1),
      });
      const whole = (await quantLogits.data()).slice(-model.config.vocabSize);
      expect(relativeError(last, whole)).toBeLessThan(1e-2);
      decoder.dispose();
      disposeTree([weights, made]);
      inputs.dispose();
      model.dispose();
      for (const logits of [quantLogits, roundedLogits, exactLogits]) logits.dispose();
      expect(device.memory().buffers).toBe(0);
      device.dispose();
    },
  );
});

describe.each([
  { name: "reference", make: () => reference(), tolerance: 1e-6 },
  { name: "cpu", make: () => cpu({ threads: 2 }), tolerance: 1e-5 },
])("experts of 4 bits on $name", ({ make, tolerance }) => {
  test.each(["mixtral", "qwen2_moe", "deepseek_v3", "gpt_oss"])(
    "%s: logits and cached steps are those of the dequantised stacks, and memory stays quantised",
    async (name) => {
      const device = make();
      const model = await loadModel(goldenSource(name), { device });
      const before = device.memory().bytes;
      const weights = await quantizeWeights(model.weights, quantisedExperts);
      // What was not chosen shares memory: only the stacks are new.
      const added = device.memory().bytes - before;
      expect(added).toBe(expertBytes(weights));
      expect(added).toBeGreaterThan(0);
      const bytesOf = { f16: 2, f32: 4, f64: 8 } as Readonly<Record<string, number>>;
      const numWeights = expertBytes(model.weights) / (bytesOf[device.defaultFloat] ?? 4);
      // Half a byte for a weight and 4 bytes for each 32 of them; rows of a panel that is not full count too.
      expect(added).toBeLessThan(1.6 * numWeights);
      const exact = denseExperts(weights);
      const [prompt = []] = rowsOf((await goldenExpected(name))["basic.input_ids"]);
      const inputs = batchInputs(model, [prompt]);
      const quantised = await decoderLogits(model.config, weights, inputs).data();
      expect(relativeError(quantised, await decoderLogits(model.config, exact, inputs).data())).toBeLessThan(
        tolerance,
      );
      const decoder = createDecoder({ config: model.config, weights, device }, { numSlots: 1 });
      for (const [at, token] of prompt.slice(0, 6).entries()) {
        const [row = new Float32Array(0)] = await decoder.step({
          tokens: Int32Array.of(token),
          positions: Int32Array.of(at),
          slots: Int32Array.of(0),
          outputs: Int32Array.of(0),
        });
        const { vocabSize } = model.config;
        expect(relativeError(row, quantised.slice(at * vocabSize, (at + 1) * vocabSize))).toBeLessThan(
          10 * tolerance,
        );
      }
      decoder.dispose();
      device.dispose();
    },
  );
});
