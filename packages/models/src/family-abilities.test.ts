import { memorySource } from "@heddle/checkpoints";
import { everyMatrix, QuantTensor, quantizeWeights } from "@heddle/quant";
import {
  cpu,
  crossEntropy,
  type Device,
  flattenTree,
  mapTree,
  randn,
  reference,
  Tensor,
  tensor,
  valueAndGrad,
} from "@heddle/tensor";
import { describe, expect, test } from "vitest";
import { caseRows, everyExpected, everyFiles, everyName } from "../test/every-golden.js";
import { relativeError } from "../test/relative-error.js";
import { showsOf } from "../test/shows.js";
import type { AnyFamily } from "./families/family.js";
import { findFamily } from "./families/registry.js";
import { type AnyModel, loadAnyModel } from "./loading/load-model.js";

/** A golden model and its loss on two rows: of each token itself, or of a class. */
async function open(name: string, device: Device) {
  const model = await loadAnyModel(memorySource(everyFiles(name)), { device });
  const golden = await everyExpected(name);
  const rows = caseRows(golden, "basic");
  const { architecture }: AnyFamily = findFamily(model.family);
  const logits = (weights: unknown) => architecture.logits({ config: model.config, weights, device }, rows);
  const [numRows = 0, ...rest] = golden["basic.logits"]?.shape ?? [];
  const shape = [numRows, ...rest.slice(0, -1)];
  const labels = rest.length > 1 ? (rows.decoderIds ?? rows.ids).flatMap((row) => Array.from(row)) : [0, 1];
  const targets = tensor(device, Int32Array.from(labels), { shape });
  const loss = (weights: unknown) => crossEntropy(logits(weights), targets);
  return { model, golden, logits, loss };
}

/** The tree moved by `distance` along another of the same form. */
function moved(weights: unknown, along: unknown, distance: number): unknown {
  const steps = flattenTree(along).leaves;
  let at = 0;
  return mapTree<Tensor, unknown>(weights, (leaf) => {
    const step = steps[at++];
    return step instanceof Tensor ? leaf.add(step.mul(distance)) : leaf;
  });
}

async function innerProduct(a: unknown, b: unknown): Promise<number> {
  const others = flattenTree(b).leaves;
  const products = flattenTree(a).leaves.map((leaf, at) => {
    const other = others[at];
    return leaf instanceof Tensor && other instanceof Tensor ? leaf.mul(other).sum().item() : 0;
  });
  return (await Promise.all(products)).reduce((sum, product) => sum + product, 0);
}

describe.each(everyName)("%s", (name) => {
  test(
    "trains: the gradient is the slope of the loss in a random direction",
    showsOf(name, "train"),
    async () => {
      const device = reference();
      const { model, loss } = await open(name, device);
      const { grad } = valueAndGrad(loss)(model.weights);
      const direction = mapTree<Tensor, unknown>(model.weights, (leaf, path) =>
        randn(device, leaf.shape, { seed: path.length * 1009 + leaf.size }).mul(leaf.rank === 1 ? 0.3 : 1),
      );
      // So short that few units of a ReLU turn off or on.
      const size = 1e-7;
      const at = (distance: number) => loss(moved(model.weights, direction, distance)).item();
      const expected = ((await at(size)) - (await at(-size))) / (2 * size);
      const slope = await innerProduct(grad, direction);
      expect(Math.abs(slope - expected)).toBeLessThan(1e-6 + 1e-5 * Math.abs(expected));
    },
  );

  test("takes a training step in f32 that lowers the loss", showsOf(name, "train"), async () => {
    const { model, loss } = await open(name, cpu({ threads: 1 }));
    const { value, grad } = valueAndGrad(loss)(model.weights);
    const before = await value.item();
    const norm = Math.sqrt(await innerProduct(grad, grad));
    const after = await loss(moved(model.weights, grad, -3e-5 / norm)).item();
    expect(before).toBeGreaterThan(0);
    expect(norm).toBeGreaterThan(0);
    // What the slope promises, within a quarter; a longer step could make a router choose other experts.
    expect(before - after).toBeGreaterThan(0.75 * 3e-5 * norm);
    expect(before - after).toBeLessThan(1.25 * 3e-5 * norm);
  });

  test("takes weights of 8 bits in the place of dense ones", showsOf(name, "quantise"), async () => {
    const device = reference();
    const { model, golden, logits } = await open(name, device);
    const weights = await quantised(model);
    expect(numQuantised(weights)).toBeGreaterThan(0);
    const got = await logits(weights).data();
    // The same numbers as dense weights, up to the rounding of activations; and near those that were not quantised.
    expect(relativeError(got, await logits(dequantised(weights)).data())).toBeLessThan(1e-5);
    const error = relativeError(got, golden["basic.logits"]?.data ?? []);
    expect(error).toBeGreaterThan(1e-6);
    // A router that is nearly undecided chooses other experts.
    const hasRouter = JSON.stringify(model.config).includes('"kind":"experts"');
    expect(error).toBeLessThan(hasRouter ? 0.25 : 0.05);
  });
});

/** What a user quantises: the projections, not the tables and not who chooses experts. */
function quantised({ weights }: AnyModel): Promise<unknown> {
  const recipe = everyMatrix({ bits: 8, groupSize: 32 }, { except: /mbedding|router|kvUp/ });
  return quantizeWeights(weights, recipe);
}

function numQuantised(node: unknown): number {
  if (node instanceof QuantTensor) return 1;
  if (node instanceof Tensor || typeof node !== "object" || node === null) return 0;
  return Object.values(node).reduce((sum, child) => sum + numQuantised(child), 0);
}

/** The tree with dense weights in the place of quantised ones. */
function dequantised<Node>(node: Node): Node {
  if (node instanceof QuantTensor) return node.dequantize() as Node;
  if (node instanceof Tensor || typeof node !== "object" || node === null) return node;
  if (Array.isArray(node)) return node.map(dequantised) as Node;
  return Object.fromEntries(Object.entries(node).map(([key, child]) => [key, dequantised(child)])) as Node;
}
