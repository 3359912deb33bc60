import {
  compile,
  disposeTree,
  HeddleError,
  type PlanReport,
  scope,
  type Tensor,
  valueAndGrad,
  writeInto,
  zeros,
} from "@heddle/tensor";
import { clipByNorm, globalNorm } from "./clip-gradients.js";
import type { LossTerms, Objective } from "./objective.js";
import type { Optimizer, OptimizerState } from "./optimizers/optimizer.js";
import {
  nothingToTrain,
  stateOf,
  trainedWeights,
  withGradients,
  zerosLike,
} from "./optimizers/trained-weights.js";

export interface TrainingStepOptions<Weights, Batch> {
  readonly objective: Objective<Weights, Batch>;
  readonly optimizer: Optimizer;
  /** Longest norm of the gradient over all weights; default: no clipping. */
  readonly clipNorm?: number;
  /** Micro-batches whose gradients make one step; default 1. */
  readonly microBatches?: number;
  /** "tokens": every token of the step weighs the same (default). "micro-batches": every micro-batch does. */
  readonly weighting?: "tokens" | "micro-batches";
  /** Run compiled plans; default true. False runs op by op, with the same numbers. */
  readonly isCompiled?: boolean;
}

/** Everything on the device that a step reads and writes. */
export interface TrainingState<Weights> {
  readonly weights: Weights;
  readonly optimizer: OptimizerState;
  /** Of the last step, []: mean loss, and norm of the gradient before clipping. */
  readonly metrics: { readonly loss: Tensor; readonly gradNorm: Tensor };
  /** Sums over the micro-batches of a step; empty where a step is one batch. */
  readonly sums: Partial<GradientSums>;
}

interface GradientSums {
  readonly grads: Readonly<Record<string, Tensor>>;
  readonly loss: Tensor;
  readonly weight: Tensor;
}

export interface TrainingStep<Weights, Batch> {
  /** State around given weights, which stay the caller's; the caller disposes the rest with `disposeState`. */
  init(weights: Weights): TrainingState<Weights>;
  /** Does one step in place. `keys` are u32 [2], one for each micro-batch. Batches are borrowed. */
  run(
    state: TrainingState<Weights>,
    batches: readonly Batch[],
    options: { readonly learningRate: Tensor; readonly keys: readonly Tensor[] },
  ): void;
  plans(): readonly PlanReport[];
  dispose(): void;
}

/**
 * Makes the function that training repeats: gradient of the objective, clipping, update; in place.
 *
 * With several micro-batches the gradients are summed and divided once, so that "tokens" gives exactly the gradient of the
 * mean over all tokens of the step.
 * @throws HeddleError "config" if a step is given another number of batches than `microBatches`
 */
export function createTrainingStep<Weights, Batch>(
  options: TrainingStepOptions<Weights, Batch>,
): TrainingStep<Weights, Batch> {
  const { optimizer, microBatches = 1, isCompiled = true } = options;
  const traced = tracedSteps(options);
  const compiled = { whole: compile(traced.whole), add: compile(traced.add), finish: compile(traced.finish) };
  const steps = isCompiled ? compiled : traced;
  return {
    init: (weights) => {
      const device = trainedWeights(weights)[0]?.weight.device;
      if (device === undefined) throw nothingToTrain();
      return {
        weights,
        optimizer: optimizer.init(weights),
        metrics: { loss: zeros(device, []), gradNorm: zeros(device, []) },
        sums:
          microBatches === 1
            ? {}
            : { grads: zerosLike(weights), loss: zeros(device, []), weight: zeros(device, []) },
      };
    },
    run: (state, batches, { learningRate, keys }) => {
      if (batches.length !== microBatches || keys.length !== microBatches) {
        const got = `${batches.length} batches, ${keys.length} keys`;
        const message = `TrainingStep.run: a step takes ${microBatches} batches and as many keys; got ${got}. Set microBatches.`;
        throw new HeddleError("config", message, {
          batches: batches.length,
          keys: keys.length,
          microBatches,
        });
      }
      // Without a plan the tensors in between have to be freed here.
      scope(learningRate.device, () => {
        const [onlyBatch] = batches;
        const [onlyKey] = keys;
        if (microBatches === 1 && onlyBatch !== undefined && onlyKey !== undefined) {
          steps.whole(state, onlyBatch, { learningRate, key: onlyKey });
          return;
        }
        for (const [at, batch] of batches.entries()) {
          const key = keys[at];
          if (key !== undefined) steps.add(state, batch, { isFirst: at === 0, key });
        }
        steps.finish(state, learningRate);
      });
    },
    plans: () => Object.values(compiled).flatMap((step) => step.plans()),
    dispose: () => {
      for (const step of Object.values(compiled)) step.dispose();
    },
  };
}

/** Frees what `init` made; the weights stay. */
export function disposeState({ optimizer, metrics, sums }: TrainingState<unknown>): void {
  disposeTree([optimizer, metrics, sums]);
}

/** The three functions that are compiled: a step of one batch, one micro-batch, and the end of a step of several. */
function tracedSteps<Weights, Batch>(options: TrainingStepOptions<Weights, Batch>) {
  const { objective, optimizer, clipNorm, weighting = "tokens" } = options;
  type State = TrainingState<Weights>;
  const update = (state: State, grads: unknown, learningRate: Tensor): void => {
    const clipped =
      clipNorm === undefined ? { grads, norm: globalNorm(grads) } : clipByNorm(grads, { maxNorm: clipNorm });
    optimizer.update(clipped.grads, state.optimizer, state.weights, { learningRate });
    writeInto(state.metrics.gradNorm, clipped.norm);
  };
  const mean = ({ total, count }: LossTerms) => total.div(count);
  return {
    whole: (
      state: State,
      batch: Batch,
      { learningRate, key }: { learningRate: Tensor; key: Tensor },
    ): void => {
      const { value, grad } = valueAndGrad((weights: Weights) => mean(objective(weights, batch, { key })))(
        state.weights,
      );
      update(state, grad, learningRate);
      writeInto(state.metrics.loss, value.cast(state.metrics.loss.dtype));
    },
    add: (state: State, batch: Batch, { isFirst, key }: { isFirst: boolean; key: Tensor }): void => {
      const sums = state.sums as GradientSums;
      const { value, grad, aux } = valueAndGrad(
        (weights: Weights) => {
          const terms = objective(weights, batch, { key });
          return { value: weighting === "tokens" ? terms.total : mean(terms), aux: terms.count };
        },
        { hasAux: true },
      )(state.weights);
      const addTo = (sum: Tensor, part: Tensor) =>
        writeInto(sum, isFirst ? part.cast(sum.dtype) : sum.add(part.cast(sum.dtype)));
      for (const { path, grad: part } of withGradients(state.weights, grad))
        addTo(stateOf(sums.grads, path), part);
      addTo(sums.loss, value);
      addTo(sums.weight, weighting === "tokens" ? aux : aux.mul(0).add(1));
    },
    finish: (state: State, learningRate: Tensor): void => {
      const sums = state.sums as GradientSums;
      const share = sums.weight.reciprocal();
      const grads = Object.fromEntries(
        Object.entries(sums.grads).map(([path, sum]) => [path, sum.mul(share)]),
      );
      update(state, grads, learningRate);
      writeInto(state.metrics.loss, sums.loss.mul(share));
    },
  };
}
