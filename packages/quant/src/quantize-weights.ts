import { disposeTree, flattenTree, Tensor } from "@heddle/tensor";
import type { QuantTensor } from "./quant-tensor.js";
import { type QuantScheme, quantizeTensor } from "./quantize-tensor.js";

/** Says how a weight is quantised, or that it is not. `path` names it in the tree: `layers.0.mlp.up.weight`. */
export type QuantRecipe = (path: string, weight: Tensor) => QuantScheme | undefined;

/**
 * The recipe that quantises every matrix of at least 32 inputs, but for paths that `except` matches.
 * Norms, biases and other vectors stay as they are, also where heads or experts have one each, in a matrix.
 */
export function everyMatrix(scheme: QuantScheme, { except }: { readonly except?: RegExp } = {}): QuantRecipe {
  return (path, weight) => {
    const isMatrix = weight.rank === 2 && (weight.shape[1] ?? 0) >= 32 && !/bias$|norm\.weight$/i.test(path);
    return isMatrix && !except?.test(path) ? scheme : undefined;
  };
}

/**
 * Quantises the weights of a tree as a recipe says, whatever model they belong to.
 *
 * @param tree  borrowed; tensors of any device
 * @returns a tree of the same form with `QuantTensor`s in the place of the chosen matrices; what was not chosen shares memory
 *   with `tree`. The caller disposes both trees, in any order
 * @throws what `quantizeTensor` throws; nothing stays allocated then
 */
export async function quantizeWeights<Weights>(tree: Weights, recipe: QuantRecipe): Promise<Weights> {
  const { leaves, paths, rebuild } = flattenTree<unknown, Weights>(tree);
  const made: unknown[] = [];
  try {
    for (const [i, leaf] of leaves.entries()) {
      made.push(leaf instanceof Tensor ? await quantizeLeaf(leaf, recipe(paths[i] ?? "", leaf)) : leaf);
    }
  } catch (error) {
    disposeTree(made);
    throw error;
  }
  return rebuild(made);
}

async function quantizeLeaf(weight: Tensor, scheme: QuantScheme | undefined): Promise<Tensor | QuantTensor> {
  return scheme === undefined ? weight.reshape(weight.shape) : quantizeTensor(weight, scheme);
}
