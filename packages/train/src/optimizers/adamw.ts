import { HeddleError, maximum, type Shape, type Tensor, writeInto, zeros } from "@heddle/tensor";
import type { Optimizer } from "./optimizer.js";
import { nothingToTrain, stateOf, trainedWeights, withGradients, zerosLike } from "./trained-weights.js";

export interface AdamWOptions {
  /** Memory of the mean and of the mean square of the gradient, 0..1; default [0.9, 0.999]. */
  readonly betas?: readonly [number, number];
  /** Added to the root of the mean square; default 1e-8. */
  readonly eps?: number;
  /** Part of a weight, times the learning rate, that each step takes away; default 0.01. */
  readonly weightDecay?: number;
  /** Which weights decay; default all, as in PyTorch. `decayMatrices` spares biases and norms. */
  readonly decays?: (path: string, shape: Shape) => boolean;
  /** Divide by the greatest mean square so far; default false. */
  readonly amsgrad?: boolean;
}

/** Moments by path, and the weight that the averages have gathered so far. */
export interface AdamState extends Record<string, Tensor | Readonly<Record<string, Tensor>>> {
  readonly first: Readonly<Record<string, Tensor>>;
  readonly second: Readonly<Record<string, Tensor>>;
  readonly greatest: Readonly<Record<string, Tensor>>;
  /** [], 1 - beta1^t and 1 - beta2^t: the same averages taken over ones. */
  readonly firstSum: Tensor;
  readonly secondSum: Tensor;
}

/** Decay rule of most language models: matrices decay, vectors (norms and biases) do not. */
export function decayMatrices(_path: string, shape: Shape): boolean {
  return shape.length >= 2;
}

/**
 * AdamW: m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2, w = w (1 - lr decay) - lr m^ / (sqrt(v^) + eps), where ^ divides
 * by 1 - b^t.
 *
 * The divisors are kept as running averages of ones, which f32 holds to its last bits (1 - b^t itself would lose half of
 * them at the start).
 * @see Loshchilov and Hutter 2019, Decoupled Weight Decay Regularization, arXiv:1711.05101, algorithm 2; Reddi et al. 2018
 * (amsgrad)
 */
export function adamW(options: AdamWOptions = {}): Optimizer<AdamState> {
  const {
    betas = [0.9, 0.999],
    eps = 1e-8,
    weightDecay = 0.01,
    decays = () => true,
    amsgrad = false,
  } = options;
  checkRange("betas[0]", betas[0]);
  checkRange("betas[1]", betas[1]);
  return {
    init: (weights) => {
      const device = trainedWeights(weights)[0]?.weight.device;
      if (device === undefined) throw nothingToTrain();
      return {
        first: zerosLike(weights),
        second: zerosLike(weights),
        greatest: amsgrad ? zerosLike(weights) : {},
        firstSum: zeros(device, []),
        secondSum: zeros(device, []),
      };
    },
    update: (grads, state, weights, { learningRate }) => {
      const firstSum = average(state.firstSum, 1, betas[0]);
      const secondSum = average(state.secondSum, 1, betas[1]);
      const stepSize = learningRate.div(firstSum);
      const rootSum = secondSum.sqrt();
      for (const { path, weight, grad } of withGradients(weights, grads)) {
        const slope = grad.cast(weight.device.defaultFloat);
        const first = average(stateOf(state.first, path), slope, betas[0]);
        const second = average(stateOf(state.second, path), slope.square(), betas[1]);
        const square = amsgrad ? maximum(stateOf(state.greatest, path), second) : second;
        const change = first.mul(stepSize).div(square.sqrt().div(rootSum).add(eps));
        const kept = weight.cast(slope.dtype);
        const decayed =
          weightDecay > 0 && decays(path, weight.shape)
            ? kept.mul(learningRate.mul(-weightDecay).add(1))
            : kept;
        writeInto(stateOf(state.first, path), first);
        writeInto(stateOf(state.second, path), second);
        if (amsgrad) writeInto(stateOf(state.greatest, path), square);
        writeInto(weight, decayed.sub(change).cast(weight.dtype));
      }
      writeInto(state.firstSum, firstSum);
      writeInto(state.secondSum, secondSum);
    },
  };
}

/** Where a running average goes with one more value. */
function average(kept: Tensor, value: Tensor | number, beta: number): Tensor {
  return kept.mul(beta).add(typeof value === "number" ? value * (1 - beta) : value.mul(1 - beta));
}

function checkRange(name: string, value: number): void {
  if (value >= 0 && value < 1) return;
  throw new HeddleError(
    "config",
    `adamW: ${name} must be in 0 <= beta < 1; got ${value}. Use about 0.9 and 0.95.`,
    {
      [name]: value,
    },
  );
}
