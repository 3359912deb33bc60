import { disposeTree, flattenTree, Tensor } from "@heddle/tensor";
import type { InputMoments } from "./input-moments.js";
import { type QuantStack, quantizeStack } from "./quant-stack.js";
import type { QuantTensor } from "./quant-tensor.js";
import { type QuantizeTensorOptions, type QuantScheme, quantizeTensor } from "./quantize-tensor.js";

/** Says how a weight is quantised, or that it is not. `path` names it in the tree: `layers.0.mlp.up.weight`. */
export type QuantRecipe = (path: string, weight: Tensor) => QuantScheme | undefined;

/**
 * The recipe that quantises every matrix of at least 32 inputs, and every stack of such under a path with `experts`, but for paths that
 * `except` matches. Norms, biases and other vectors stay as they are, also where heads or experts have one each, in a matrix.
 */
export function everyMatrix(scheme: QuantScheme, { except }: { readonly except?: RegExp } = {}): QuantRecipe {
  return (path, weight) => {
    // Other weights of three axes are no stacks: kernels of convolutions, heads apart.
    const isMatrix = weight.rank === 2 || (weight.rank === 3 && /\bexperts\b/.test(path));
    const isLarge = (weight.shape.at(-1) ?? 0) >= 32 && !/bias$|norm\.weight$/i.test(path);
    return isMatrix && isLarge && !except?.test(path) ? scheme : undefined;
  };
}

export interface QuantizeWeightsOptions {
  /** Second moments of the inputs of weights, by path; those that have some are rounded with regard to them (GPTQ). */
  readonly moments?: ReadonlyMap<string, InputMoments>;
}

/**
 * Quantises the weights of a tree as a recipe says, whatever model they belong to.
 *
 * @param tree  borrowed; tensors of any device
 * @returns a tree of the same form with a `QuantTensor` in the place of each chosen matrix and a `QuantStack` in that of
 *   each stack of them; what was not chosen shares memory with `tree`. The caller disposes both trees, in any order
 * @throws what `quantizeTensor` throws; nothing stays allocated then
 */
export async function quantizeWeights<Weights>(
  tree: Weights,
  recipe: QuantRecipe,
  { moments }: QuantizeWeightsOptions = {},
): Promise<Weights> {
  const { leaves, paths, rebuild } = flattenTree<unknown, Weights>(tree);
  const made: unknown[] = [];
  try {
    for (const [i, leaf] of leaves.entries()) {
      const path = paths[i] ?? "";
      const known = moments?.get(path);
      const options = known === undefined ? {} : { moments: known };
      made.push(leaf instanceof Tensor ? await quantizeLeaf(leaf, recipe(path, leaf), options) : leaf);
    }
  } catch (error) {
    disposeTree(made);
    throw error;
  }
  return rebuild(made);
}

async function quantizeLeaf(
  weight: Tensor,
  scheme: QuantScheme | undefined,
  options: QuantizeTensorOptions,
): Promise<Tensor | QuantTensor | QuantStack> {
  if (scheme === undefined) return weight.reshape(weight.shape);
  return weight.rank === 3 ? quantizeStack(weight, scheme) : quantizeTensor(weight, scheme, options);
}
