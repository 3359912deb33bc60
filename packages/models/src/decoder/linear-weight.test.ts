import { memorySink, memorySource, openSafetensors } from "@heddle/checkpoints";
import {
  compile,
  type LinearWeight,
  linear,
  mapTree,
  randn,
  reference,
  Tensor,
  type TreeNode,
  treeNode,
  valueAndGrad,
} from "@heddle/tensor";
import { expect, test } from "vitest";
import { goldenConfig, goldenExpected, goldenSource, rowsOf, sampleNames } from "../../test/golden-model.js";
import { relativeError } from "../../test/relative-error.js";
import { initWeights } from "../loading/init-weights.js";
import { loadModel } from "../loading/load-model.js";
import { parseConfig } from "../loading/parse-config.js";
import { saveModel } from "../loading/save-model.js";
import type { DecoderWeights, LayerWeights, LinearWeights } from "../weights.js";
import { batchInputs } from "./batch-inputs.js";
import { decoderLogits } from "./decoder.js";

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
  return mapTree<Tensor | ShiftedWeight, LayerWeights>(layer, (weight, path) =>
    weight instanceof Tensor && weight.rank === 2 && path.endsWith(".weight")
      ? new ShiftedWeight(weight.mul(0.25), weight.mul(0.75))
      : weight,
  );
}

test.each(sampleNames)("%s: any LinearWeight takes the place of a dense one", async (name) => {
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

/** A weight that adds a bias of its own. */
class BiasedWeight implements LinearWeight {
  constructor(
    readonly weight: LinearWeight,
    readonly bias: Tensor,
  ) {}
  get inFeatures(): number {
    return this.weight.inFeatures;
  }
  get outFeatures(): number {
    return this.weight.outFeatures;
  }
  apply(x: Tensor): Tensor {
    return linear(x, this.weight, this.bias);
  }
}

test("Llama's attention and feed-forward biases are loaded by name and applied after each projection", async () => {
  const device = reference();
  const json = { ...(goldenConfig("llama") as object), attention_bias: true, mlp_bias: true };
  const config = parseConfig(json);
  const fresh = initWeights(config, device, { seed: 1 });
  const weights = mapTree<Tensor, DecoderWeights>(fresh, (leaf, path) =>
    path.endsWith(".bias") ? randn(device, leaf.shape, { seed: path.length }) : leaf,
  );
  const sink = memorySink();
  await saveModel(sink, { config, weights });
  const model = await loadModel(memorySource(sink.files), { device });
  const { tensors } = await openSafetensors(memorySource(sink.files));
  const names = [...tensors.keys()].filter(
    (name) => name.startsWith("model.layers.1.") && name.endsWith(".bias"),
  );
  expect(names.map((name) => name.slice("model.layers.1.".length))).toEqual([
    "mlp.down_proj.bias",
    "mlp.gate_proj.bias",
    "mlp.up_proj.bias",
    "self_attn.k_proj.bias",
    "self_attn.o_proj.bias",
    "self_attn.q_proj.bias",
    "self_attn.v_proj.bias",
  ]);
  const merge = (part: LinearWeights | undefined): LinearWeights => {
    if (part === undefined) throw new Error("the layer lacks a part");
    return part.bias === undefined ? part : { weight: new BiasedWeight(part.weight, part.bias) };
  };
  const merged: DecoderWeights = {
    ...weights,
    layers: weights.layers.map(({ attention, mlp, ...norms }) => ({
      ...norms,
      attention: {
        query: merge(attention.query),
        key: merge(attention.key),
        value: merge(attention.value),
        output: merge(attention.output),
      },
      mlp: { gate: merge(mlp?.gate), up: merge(mlp?.up), down: merge(mlp?.down) },
    })),
  };
  const { ids } = batchInputs(model, [[1, 5, 9, 2, 40]]);
  const expected = await decoderLogits({ ...config }, merged, { ids }).data();
  const actual = await model.forward({ ids }).data();
  expect(relativeError(actual, expected)).toBeLessThan(1e-12);
  const plain = mapTree<Tensor, DecoderWeights>(weights, (leaf, path) =>
    path.endsWith(".bias") ? leaf.mul(0) : leaf,
  );
  const without = await decoderLogits(config, plain, { ids }).data();
  expect(relativeError(actual, without)).toBeGreaterThan(0.01);
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
