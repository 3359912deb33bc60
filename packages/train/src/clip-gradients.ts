import { HeddleError, mapTree, maximum, type Tensor } from "@heddle/tensor";
import { nothingToTrain, trainedWeights } from "./optimizers/trained-weights.js";

export interface ClipOptions {
  /** Longest norm that passes unchanged. */
  readonly maxNorm: number;
  /** 2 (default), 1, or Infinity for the largest element. */
  readonly order?: 1 | 2 | typeof Number.POSITIVE_INFINITY;
}

/** Norm of all gradients of a tree together, as if they were one long vector: []. */
export function globalNorm(grads: unknown, order: number = 2): Tensor {
  const all = trainedWeights(grads).map(({ weight }) => weight.cast(weight.device.defaultFloat));
  const parts = all.map((grad) =>
    order === 2 ? grad.square().sum() : order === 1 ? grad.abs().sum() : grad.abs().max(),
  );
  const [first, ...rest] = parts;
  if (first === undefined) throw nothingToTrain();
  const total = rest.reduce(
    (sum, part) => (order === Number.POSITIVE_INFINITY ? maximum(sum, part) : sum.add(part)),
    first,
  );
  return order === 2 ? total.sqrt() : total;
}

/**
 * Shortens gradients whose norm over the whole tree is above `maxNorm`: g * min(1, maxNorm / (norm + 1e-6)).
 *
 * @returns the gradients, in a tree of the same form, and the norm before clipping, []; the caller owns both
 * @see Pascanu et al. 2013, arXiv:1211.5063, section 3.2. Differs from the paper: the 1e-6, as in PyTorch.
 */
export function clipByNorm<Grads>(
  grads: Grads,
  { maxNorm, order = 2 }: ClipOptions,
): { grads: Grads; norm: Tensor } {
  if (!(maxNorm > 0)) {
    const message = `clipByNorm: maxNorm must be above 0; got ${maxNorm}. Leave clipping out to keep all gradients.`;
    throw new HeddleError("config", message, { maxNorm });
  }
  const norm = globalNorm(grads, order);
  const factor = norm.add(1e-6).reciprocal().mul(maxNorm).minimum(1);
  const trained = new Set<unknown>(trainedWeights(grads).map(({ weight }) => weight));
  const clipped = mapTree<Tensor, Grads>(grads, (grad) =>
    trained.has(grad) ? grad.mul(factor.cast(grad.dtype)) : grad,
  );
  return { grads: clipped, norm };
}

/** Limits every element of the gradients to -limit..limit. */
export function clipByValue<Grads>(grads: Grads, limit: number): Grads {
  const trained = new Set<unknown>(trainedWeights(grads).map(({ weight }) => weight));
  return mapTree<Tensor, Grads>(grads, (grad) =>
    trained.has(grad) ? grad.maximum(-limit).minimum(limit) : grad,
  );
}
