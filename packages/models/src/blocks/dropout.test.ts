import { compile, cpu, randomKey, reference, tensor, valueAndGrad } from "@heddle/tensor";
import { expect, test } from "vitest";
import type { DecoderConfig } from "../config.js";
import { decoderLogits } from "../decoder/decoder.js";
import { initWeights } from "../loading/init-weights.js";

const config: DecoderConfig = {
  family: "llama",
  vocabSize: 11,
  modelDim: 8,
  ffnDim: 12,
  numLayers: 2,
  numHeads: 2,
  numKvHeads: 1,
  headDim: 4,
  maxSeqLen: 16,
  norm: { kind: "rms", eps: 1e-5 },
  positions: { kind: "rope", theta: 10_000, scaling: { kind: "default" } },
  mlp: { kind: "gated", activation: "silu", hasBias: false },
  attention: { hasBias: false, scale: 0.5 },
  tieEmbeddings: true,
  initializerRange: 0.5,
  tokens: { eos: [0] },
};

test("dropout depends on its key alone, compiled or not, and is the same on every device", () => {
  const results = [reference(), cpu({ threads: 1 })].map((device) => {
    const weights = initWeights(config, device, { seed: 1, dtype: "f32" });
    const ids = tensor(device, new Int32Array([1, 2, 3, 4]), { shape: [1, 4] });
    const run = (key: ReturnType<typeof randomKey>) =>
      decoderLogits(config, weights, { ids, dropout: { rate: 0.5, key } });
    const compiled = compile(run);
    const first = Array.from(run(randomKey(device, 1)).dataSync());
    expect(Array.from(compiled(randomKey(device, 1)).dataSync())).toEqual(first);
    expect(Array.from(compiled(randomKey(device, 2)).dataSync())).not.toEqual(first);
    expect(Array.from(decoderLogits(config, weights, { ids }).dataSync())).not.toEqual(first);
    const { grad } = valueAndGrad((w: typeof weights) =>
      decoderLogits(config, w, { ids, dropout: { rate: 0.5, key: randomKey(device, 1) } })
        .square()
        .sum(),
    )(weights);
    expect(grad.norm?.weight?.dataSync().some((x) => x !== 0)).toBe(true);
    return first;
  });
  const [expected = [], actual = []] = results;
  for (const [i, value] of actual.entries()) expect(value).toBeCloseTo(expected[i] ?? Number.NaN, 4);
});
