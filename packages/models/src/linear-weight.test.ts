import {
  compile,
  type LinearWeight,
  linear,
  mapTree,
  reference,
  Tensor,
  type TreeNode,
  treeNode,
  valueAndGrad,
} from "@heddle/tensor";
import { expect, test } from "vitest";
import { goldenExpected, goldenNames, goldenSource, rowsOf } from "../test/golden-model.js";
import { relativeError } from "../test/relative-error.js";
import { batchInputs } from "./batch-inputs.js";
import { decoderLogits } from "./decoder.js";
import { loadModel } from "./load-model.js";
import type { DecoderWeights, LayerWeights } from "./weights.js";

/** A weight of two factors, W = base + shift, as adapters and quantised formats are: no Tensor. */
class ShiftedWeight implements LinearWeight, TreeNode {
  constructor(
    readonly base: Tensor,
    readonly shift: Tensor,
  ) {}
  get inFeatures(): number {
    return this.base.inFeatures;
  }
  get outFeatures(): number {
    return this.base.outFeatures;
  }
  apply(x: Tensor): Tensor {
    return linear(x, this.base).add(linear(x, this.shift));
  }
  [treeNode]() {
    return {
      children: { base: this.base, shift: this.shift },
      rebuild: ({ base, shift }: Readonly<Record<string, unknown>>) =>
        new ShiftedWeight(base as Tensor, shift as Tensor),
    };
  }
}

/** Splits every matrix of a layer into halves that sum to it. */
function shifted(layer: LayerWeights): LayerWeights {
  return mapTree<Tensor | ShiftedWeight, LayerWeights>(layer, (weight) =>
    weight instanceof Tensor && weight.rank === 2
      ? new ShiftedWeight(weight.mul(0.25), weight.mul(0.75))
      : weight,
  );
}

test.each(goldenNames)("%s: any LinearWeight takes the place of a dense one", async (name) => {
  const device = reference();
  const model = await loadModel(goldenSource(name), { device });
  const weights: DecoderWeights = { ...model.weights, layers: model.weights.layers.map(shifted) };
  const golden = await goldenExpected(name);
  const { ids } = batchInputs(model, rowsOf(golden["long.input_ids"]));
  const expected = golden["long.logits"]?.data ?? [];
  const run = (tree: DecoderWeights, input: Tensor) => decoderLogits(model.config, tree, { ids: input });
  expect(relativeError(await run(weights, ids).data(), expected)).toBeLessThan(1e-6);
  expect(relativeError(await compile(run)(weights, ids).data(), expected)).toBeLessThan(1e-6);
  const { grad } = valueAndGrad((tree: DecoderWeights) => run(tree, ids).mean())(weights);
  const query = grad.layers[0]?.attention.query.weight;
  expect(query).toBeInstanceOf(ShiftedWeight);
});

test.each([
  ["llama_sharded_bf16", "bf16", 3e-2],
  ["llama_f16", "f16", 1e-2],
] as const)("%s runs in the dtype that it is stored in", async (name, dtype, tolerance) => {
  const device = reference();
  const model = await loadModel(goldenSource(name), { device, dtype: "stored" });
  const golden = await goldenExpected(name);
  const logits = model.forward(batchInputs(model, rowsOf(golden["long.input_ids"])));
  expect(logits.dtype).toBe(dtype);
  expect(relativeError(await logits.data(), golden["long.logits"]?.data ?? [])).toBeLessThan(tolerance);
});
