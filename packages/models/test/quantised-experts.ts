import { type QuantRecipe, QuantStack } from "@heddle/quant";
import { flattenTree, type StackedWeight, Tensor } from "@heddle/tensor";
import type { DecoderWeights } from "../src/index.js";

/** Four bits for the stacks of experts, and nothing else. */
export const quantisedExperts: QuantRecipe = (path, weight) =>
  weight.rank === 3 && /experts\.(gate|up|down)\.weight$/.test(path) ? { bits: 4, groupSize: 32 } : undefined;

/** Bytes of the stacks of experts alone. */
export function expertBytes({ layers }: DecoderWeights): number {
  const tensors = layers.flatMap(({ experts: of }) =>
    of === undefined ? [] : [of.gate, of.up, of.down].flatMap(({ weight }) => flattenTree(weight).leaves),
  );
  return tensors.reduce<number>((sum, leaf) => sum + (leaf instanceof Tensor ? leaf.byteLength : 0), 0);
}

/** The same tree with dense stacks in the place of quantised ones. */
export function denseExperts(weights: DecoderWeights): DecoderWeights {
  const dense = (part: { readonly weight: Tensor | StackedWeight; readonly bias?: Tensor }) =>
    part.weight instanceof QuantStack ? { ...part, weight: part.weight.dequantize() } : part;
  const layers = weights.layers.map((layer) => {
    const { experts: of } = layer;
    if (of === undefined) return layer;
    return { ...layer, experts: { ...of, gate: dense(of.gate), up: dense(of.up), down: dense(of.down) } };
  });
  return { ...weights, layers };
}
