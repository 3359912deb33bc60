import type { Tensor } from "@heddle/tensor";

/** What an optimizer keeps between steps: a tree of tensors, saved with every checkpoint. */
export type OptimizerState = Readonly<Record<string, Tensor | Readonly<Record<string, Tensor>>>>;

export interface UpdateOptions {
  /** Float, []: a tensor, so that one compiled step serves a whole schedule. */
  readonly learningRate: Tensor;
}

/**
 * A rule for better weights: a pair of functions, without state of its own.
 *
 * Weights are any tree; its float tensors are trained, other leaves are passed over. Moments and the like are kept in the
 * device's float, also where weights are narrower.
 */
export interface Optimizer<State extends OptimizerState = OptimizerState> {
  /** State before the first step; the caller disposes it. */
  init(weights: unknown): State;
  /** Writes new values into `weights` and `state`, in place. Gradients have the form of `weights` and are borrowed. */
  update(grads: unknown, state: State, weights: unknown, options: UpdateOptions): void;
}
