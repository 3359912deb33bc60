import { everyMatrix, QuantTensor, quantizeWeights } from "@heddle/quant";
import { crossEntropy, flattenTree, mapTree, randn, reference, Tensor, valueAndGrad } from "@heddle/tensor";
import { expect, test } from "vitest";
import { goldenExpected, goldenNames, goldenSource, rowsOf } from "../test/golden-model.js";
import { relativeError } from "../test/relative-error.js";
import { batchInputs } from "./decoder/batch-inputs.js";
import { decoderLogits } from "./decoder/decoder.js";
import { loadModel } from "./loading/load-model.js";
import type { DecoderWeights } from "./weights.js";

test.each(goldenNames)(
  "%s trains: the gradient is the slope of the loss in a random direction",
  async (name) => {
    const device = reference();
    const model = await loadModel(goldenSource(name), { device });
    const golden = await goldenExpected(name);
    const inputs = batchInputs(
      model,
      rowsOf(golden["padded.input_ids"]),
      rowsOf(golden["padded.attention_mask"]),
    );
    const loss = (weights: DecoderWeights) =>
      crossEntropy(decoderLogits(model.config, weights, inputs), inputs.ids);
    const { value, grad } = valueAndGrad(loss)(model.weights);
    const direction = mapTree<Tensor, DecoderWeights>(model.weights, (leaf, path) =>
      randn(device, leaf.shape, { seed: path.length * 1009 + leaf.size }).mul(leaf.rank === 1 ? 0.3 : 1),
    );
    const [slopes, steps] = [flattenTree(grad).leaves, flattenTree(direction).leaves];
    let along = 0;
    for (const [at, slope] of slopes.entries()) {
      const step = steps[at];
      if (slope instanceof Tensor && step instanceof Tensor) along += await slope.mul(step).sum().item();
    }
    const size = 1e-6;
    const moved = async (distance: number) => {
      const path = flattenTree(direction);
      let at = 0;
      const weights = mapTree<Tensor, DecoderWeights>(model.weights, (leaf) => {
        const step = path.leaves[at++];
        return step instanceof Tensor ? leaf.add(step.mul(distance)) : leaf;
      });
      return loss(weights).item();
    };
    const expected = ((await moved(size)) - (await moved(-size))) / (2 * size);
    expect(Math.abs(along - expected)).toBeLessThan(1e-6 + 1e-5 * Math.abs(expected));
    expect(await value.item()).toBeGreaterThan(0);
  },
);

test.each(goldenNames)("%s takes weights of 8 bits in the place of dense ones", async (name) => {
  const device = reference();
  const model = await loadModel(goldenSource(name), { device, dtype: "f32" });
  const golden = await goldenExpected(name);
  const inputs = batchInputs(model, rowsOf(golden["long.input_ids"]));
  const recipe = everyMatrix({ bits: 8, groupSize: 32 }, { except: /mbedding|router|kvUp/ });
  const weights = await quantizeWeights(model.weights, recipe);
  expect(weights.layers[0]?.attention.output.weight).toBeInstanceOf(QuantTensor);
  // The same numbers as dense weights: what it costs to round them is for the tests of the formats.
  const dense = dequantized(weights);
  const logits = decoderLogits(model.config, weights, inputs);
  const expected = decoderLogits(model.config, dense, inputs);
  expect(relativeError(await logits.data(), await expected.data())).toBeLessThan(1e-5);
  expect(relativeError(await logits.data(), golden["long.logits"]?.data ?? [])).toBeGreaterThan(1e-6);
});

/** The tree with dense weights in the place of quantised ones. */
function dequantized<Node>(node: Node): Node {
  if (node instanceof QuantTensor) return node.dequantize().cast("f32") as Node;
  if (node instanceof Tensor || typeof node !== "object" || node === null) return node;
  if (Array.isArray(node)) return node.map(dequantized) as Node;
  return Object.fromEntries(Object.entries(node).map(([key, child]) => [key, dequantized(child)])) as Node;
}
