import { flattenTree, HeddleError, invariant, isFloat, Tensor, zeros } from "@heddle/tensor";

/** A weight that is trained, by its path in the tree. */
export interface TrainedWeight {
  readonly path: string;
  readonly weight: Tensor;
}

/** The float tensors of a tree of weights: what gradients exist for. */
export function trainedWeights(weights: unknown): TrainedWeight[] {
  const { leaves, paths } = flattenTree(weights);
  return leaves.flatMap((leaf, at) =>
    leaf instanceof Tensor && isFloat(leaf.dtype) ? [{ path: paths[at] ?? "", weight: leaf }] : [],
  );
}

/** Pairs each trained weight with its gradient. */
export function withGradients(
  weights: unknown,
  grads: unknown,
): (TrainedWeight & { readonly grad: Tensor })[] {
  const byPath = new Map(trainedWeights(grads).map(({ path, weight }) => [path, weight]));
  return trainedWeights(weights).map(({ path, weight }) => {
    const grad = byPath.get(path);
    invariant(grad, `the weight ${path} has no gradient`);
    return { path, weight, grad };
  });
}

/** Zeros in the device's float for each trained weight, by path. The caller disposes them. */
export function zerosLike(weights: unknown): Record<string, Tensor> {
  return Object.fromEntries(
    trainedWeights(weights).map(({ path, weight }) => [path, zeros(weight.device, weight.shape)]),
  );
}

/** A tensor of optimizer state that belongs to a weight. */
export function stateOf(kept: Readonly<Record<string, Tensor>>, path: string): Tensor {
  const found = kept[path];
  invariant(found, `the optimizer keeps nothing for the weight ${path}`);
  return found;
}

/** The error of a tree without anything to train. */
export function nothingToTrain(): HeddleError {
  return new HeddleError(
    "config",
    "optimizer: weights must hold at least one float tensor; got none. Pass the tree that valueAndGrad differentiates.",
  );
}
