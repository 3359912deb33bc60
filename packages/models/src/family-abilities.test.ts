import { memorySource } from "@heddle/checkpoints";
import { everyMatrix, QuantStack, QuantTensor, quantizeWeights } from "@heddle/quant";
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
import { caseRows, everyConfig, everyExpected, everyFiles, everyName } from "../test/every-golden.js";
import { madeConfigs, madeFiles } from "../test/made-model.js";
import { relativeError } from "../test/relative-error.js";
import { shows } from "../test/shows.js";
import type { TokenRows } from "./architecture.js";
import type { AnyFamily } from "./families/family.js";
import { findFamily } from "./families/registry.js";
import { type AnyModel, loadAnyModel } from "./loading/load-model.js";

interface Case {
  readonly name: string;
  readonly family: string;
  files(): Promise<Readonly<Record<string, Uint8Array>>>;
  row(): Promise<TokenRows>;
}

// The variants of llama differ in rotation or in how they are stored, not in what is learned: llama stands for all.
const golden: readonly Case[] = everyName
  .filter((name) => !name.startsWith("llama_"))
  .map((name) => ({
    name,
    family: String(everyConfig(name).model_type),
    files: async () => everyFiles(name),
    row: async () => firstRow(caseRows(await everyExpected(name), "basic")),
  }));

const made: readonly Case[] = Object.entries(madeConfigs).map(([name, json]) => ({
  name,
  family: String(json.model_type),
  files: () => madeFiles(json),
  row: async () => ({ ids: [[3, 17, 5, 8, 8, 30, 2, 11]] }),
}));

function firstRow({ frames, ...rows }: TokenRows): TokenRows {
  const first = Object.entries(rows).map(([key, value]) => [
    key,
    Array.isArray(value) ? value.slice(0, 1) : value,
  ]);
  const cut: TokenRows = { ids: [], ...Object.fromEntries(first) };
  if (frames === undefined) return cut;
  const [numRows = 1, ...shape] = frames.shape;
  return {
    ...cut,
    frames: { shape: [1, ...shape], data: frames.data.slice(0, frames.data.length / numRows) },
  };
}

/** A model and its loss on a row: of each token itself, or of a class. */
async function open({ files, row }: Case, device: Device) {
  const model = await loadAnyModel(memorySource(await files()), { device });
  const rows = await row();
  const { architecture }: AnyFamily = findFamily(model.family);
  const logits = (weights: unknown) => architecture.logits({ config: model.config, weights, device }, rows);
  const loss = (weights: unknown) => {
    const given = logits(weights);
    const shape = given.shape.slice(0, -1);
    const labels = shape.length > 1 ? (rows.decoderIds ?? rows.ids).flatMap((ids) => Array.from(ids)) : [1];
    return crossEntropy(given, tensor(device, Int32Array.from(labels), { shape }));
  };
  return { model, logits, loss };
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

describe.each([...golden, ...made])("$name", (given) => {
  const { family } = given;
  test(
    "trains: the gradient is the slope of the loss in a random direction",
    shows(family, "train"),
    async () => {
      const device = reference();
      const { model, loss } = await open(given, device);
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

  test("takes a training step in f32 that lowers the loss", shows(family, "train"), async () => {
    const { model, loss } = await open(given, cpu({ threads: 1 }));
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

  test("takes weights of 8 bits in the place of dense ones", shows(family, "quantise"), async () => {
    const device = reference();
    const { model, logits } = await open(given, device);
    const weights = await quantised(model);
    const offBy = await stepsOff(weights, model.weights);
    expect(offBy.length).toBeGreaterThan(0);
    // No weight is farther off than half a step; and the model computes with just those weights. How far its logits are off
    // says nothing more: a router that is nearly undecided chooses other experts after any rounding.
    expect(Math.max(...offBy)).toBeLessThan(0.5001);
    expect(Math.max(...offBy)).toBeGreaterThan(0.1);
    const got = await logits(weights).data();
    expect(relativeError(got, await logits(dequantised(weights)).data())).toBeLessThan(1e-5);
  });
});

const groupSize = 32;
const isQuantised = (node: unknown) => node instanceof QuantTensor || node instanceof QuantStack;

/** What a user quantises: the projections, not the tables and not who chooses experts. */
function quantised({ weights }: AnyModel): Promise<unknown> {
  const recipe = everyMatrix({ bits: 8, groupSize }, { except: /mbedding|router|kvUp/ });
  return quantizeWeights(weights, recipe);
}

/** How far the numbers of each quantised weight are off at most, in steps: 127 steps make the greatest of 32. */
async function stepsOff(node: unknown, dense: unknown): Promise<number[]> {
  if (isQuantised(node) && dense instanceof Tensor) {
    const [near, exact] = [await node.dequantize().data(), await dense.data()];
    const width = node.inFeatures;
    let most = 0;
    for (let row = 0; row < exact.length; row += width)
      for (let from = row; from < row + width; from += groupSize) {
        const group = exact.slice(from, Math.min(from + groupSize, row + width));
        const step = Math.max(...group.map(Math.abs)) / 127;
        for (const [i, value] of group.entries())
          most = Math.max(most, Math.abs((near[from + i] ?? Number.NaN) - value) / step);
      }
    return [most];
  }
  if (node instanceof Tensor || typeof node !== "object" || node === null) return [];
  const others = dense as Readonly<Record<string, unknown>>;
  const each = Object.entries(node).map(([key, child]) => stepsOff(child, others[key]));
  return (await Promise.all(each)).flat();
}

/** The tree with dense weights in the place of quantised ones. */
function dequantised<Node>(node: Node): Node {
  if (isQuantised(node)) return node.dequantize() as Node;
  if (node instanceof Tensor || typeof node !== "object" || node === null) return node;
  if (Array.isArray(node)) return node.map(dequantised) as Node;
  return Object.fromEntries(Object.entries(node).map(([key, child]) => [key, dequantised(child)])) as Node;
}
