import { HeddleError, type Tensor, writeInto, zeros } from "@heddle/tensor";
import type { Optimizer } from "./optimizer.js";
import { nothingToTrain, stateOf, trainedWeights, withGradients, zerosLike } from "./trained-weights.js";

export interface SgdOptions {
  /** Part of the velocity that stays, 0..1; default 0: plain gradient descent. */
  readonly momentum?: number;
  /** Part of the gradient that the velocity leaves out after the first step; default 0. */
  readonly dampening?: number;
  /** Look ahead along the velocity; default false. Needs momentum and no dampening. */
  readonly nesterov?: boolean;
  /** Pull of each weight towards 0, added to its gradient; default 0. */
  readonly weightDecay?: number;
}

export interface SgdState extends Record<string, Tensor | Readonly<Record<string, Tensor>>> {
  readonly velocity: Readonly<Record<string, Tensor>>;
  /** [], 0 before the first step, then 1. */
  readonly hasMoved: Tensor;
}

/**
 * Stochastic gradient descent: v = momentum v + (1 - dampening) g (v = g at first), w = w - lr v.
 *
 * @see Sutskever et al. 2013, On the importance of initialization and momentum in deep learning. Differs from the paper: the
 * learning rate multiplies the velocity, as in PyTorch.
 */
export function sgd(options: SgdOptions = {}): Optimizer<SgdState> {
  const { momentum = 0, dampening = 0, nesterov = false, weightDecay = 0 } = options;
  if (nesterov && (momentum <= 0 || dampening !== 0)) {
    const got = `momentum ${momentum}, dampening ${dampening}`;
    const message = `sgd: nesterov needs momentum above 0 and dampening 0; got ${got}. Set momentum to 0.9.`;
    throw new HeddleError("config", message, { momentum, dampening });
  }
  return {
    init: (weights) => {
      const device = trainedWeights(weights)[0]?.weight.device;
      if (device === undefined) throw nothingToTrain();
      return { velocity: momentum > 0 ? zerosLike(weights) : {}, hasMoved: zeros(device, []) };
    },
    update: (grads, state, weights, { learningRate }) => {
      // 1 at the first step, 1 - dampening later.
      const share = state.hasMoved.mul(-dampening).add(1);
      for (const { path, weight, grad } of withGradients(weights, grads)) {
        const float = weight.device.defaultFloat;
        const kept = weight.cast(float);
        const slope = grad.cast(float).add(kept.mul(weightDecay));
        let change = slope;
        if (momentum > 0) {
          const velocity = stateOf(state.velocity, path);
          const moved = velocity.mul(momentum).add(slope.mul(share));
          writeInto(velocity, moved);
          change = nesterov ? slope.add(moved.mul(momentum)) : moved;
        }
        writeInto(weight, kept.sub(change.mul(learningRate)).cast(weight.dtype));
      }
      writeInto(state.hasMoved, state.hasMoved.mul(0).add(1));
    },
  };
}
