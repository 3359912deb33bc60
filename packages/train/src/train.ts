import {
  type Device,
  disposeTree,
  foldIn,
  HeddleError,
  nextTurn,
  randomKey,
  type Tensor,
  tensor,
} from "@heddle/tensor";
import type { BatchSource, HostBatch } from "./data/packed-batches.js";
import { createEvaluator, type Evaluation, type Evaluator } from "./evaluate.js";
import type { Objective, TokenBatch } from "./objective.js";
import type { Optimizer } from "./optimizers/optimizer.js";
import { trainedWeights } from "./optimizers/trained-weights.js";
import { createPace } from "./pace.js";
import { type RunCheckpoint, restoreRun, runContent, type SavedRun } from "./run-checkpoint.js";
import { type Schedule, scheduleFactor } from "./schedules.js";
import type { TrainingEvent } from "./training-events.js";
import { createTrainingStep, disposeState, type TrainingState, type TrainingStep } from "./training-step.js";

export interface TrainOptions<Weights> {
  /** Trained in place; stay the caller's. */
  readonly weights: Weights;
  readonly objective: Objective<Weights, TokenBatch>;
  readonly optimizer: Optimizer;
  readonly data: BatchSource;
  /** Steps of the whole run, those before a resume included. */
  readonly steps: number;
  /** Peak rate; `schedule` (default constant) gives the factor of each step. */
  readonly learningRate: number;
  readonly schedule?: Schedule;
  /** Longest norm of the gradient; default: no clipping. */
  readonly clipNorm?: number;
  /** Batches of `data` that make one step, and how they weigh; default 1, "tokens". */
  readonly microBatches?: number;
  readonly weighting?: "tokens" | "micro-batches";
  /** For dropout; default 0. */
  readonly seed?: number;
  readonly evaluation?: EvaluationOptions<Weights>;
  readonly checkpoints?: CheckpointOptions;
  /** A saved run to go on from. */
  readonly resume?: SavedRun;
  /** Steps from one "step" event to the next; default 1. Losses in between are not read back. */
  readonly logEvery?: number;
  readonly onEvent?: (event: TrainingEvent) => void;
  /** Ends the run after the step under way: the state is saved, then the signal's reason is thrown. */
  readonly signal?: AbortSignal;
  readonly isCompiled?: boolean;
}

export interface EvaluationOptions<Weights> {
  /** Steps between evaluations; one more comes at the end. */
  readonly every: number;
  /** What is measured; default the objective of training. A model with dropout is measured without. */
  readonly objective?: Objective<Weights, TokenBatch>;
  /** Gives the held-out batches anew for each evaluation. */
  readonly batches: () => Iterable<HostBatch> | AsyncIterable<HostBatch>;
}

export interface CheckpointOptions {
  /** Steps between checkpoints; one more comes at the end. */
  readonly every: number;
  /** Writes a checkpoint and returns its path. */
  readonly save: (content: RunCheckpoint) => Promise<string>;
}

export interface TrainingResult {
  readonly steps: number;
  readonly tokens: number;
  /** Loss of the last step. */
  readonly loss: number;
  /** The last evaluation, where there are any. */
  readonly evaluation: Evaluation | undefined;
}

/**
 * Trains weights in place: batch -> gradient -> update, `steps` times.
 *
 * Weights, optimiser, data position and random keys are saved and restored exactly, so N steps, a stop and N more give the
 * bits of 2 N steps in one go. The device is never waited for in a step whose loss is not due.
 * @throws HeddleError "config" naming the step whose loss is not a number; "config" if the data end before the run; the
 *   signal's reason when aborted
 */
export async function train<Weights>(options: TrainOptions<Weights>): Promise<TrainingResult> {
  const device = deviceOf(options.weights);
  checkCounts(options);
  const { objective, optimizer, clipNorm, microBatches, weighting, isCompiled } = options;
  const step = createTrainingStep<Weights, TokenBatch>({
    objective,
    optimizer,
    ...(clipNorm === undefined ? {} : { clipNorm }),
    ...(microBatches === undefined ? {} : { microBatches }),
    ...(weighting === undefined ? {} : { weighting }),
    ...(isCompiled === undefined ? {} : { isCompiled }),
  });
  const state = step.init(options.weights);
  const evaluator =
    options.evaluation === undefined
      ? undefined
      : createEvaluator(device, options.evaluation.objective ?? objective);
  const run = new Run(options, { device, step, state, evaluator });
  try {
    return await run.toEnd();
  } finally {
    run.dispose();
    evaluator?.dispose();
    disposeState(state);
    step.dispose();
  }
}

interface RunParts<Weights> {
  readonly device: Device;
  readonly step: TrainingStep<Weights, TokenBatch>;
  readonly state: TrainingState<Weights>;
  readonly evaluator: Evaluator<Weights> | undefined;
}

/** One call of `train`. */
class Run<Weights> {
  readonly #options: TrainOptions<Weights>;
  readonly #parts: RunParts<Weights>;
  readonly #key: Tensor;
  #done = 0;
  #tokens = 0;
  #loss = Number.NaN;
  #lossStep = 0;
  readonly #pace = createPace();

  constructor(options: TrainOptions<Weights>, parts: RunParts<Weights>) {
    this.#options = options;
    this.#parts = parts;
    this.#key = randomKey(parts.device, options.seed ?? 0);
  }

  async toEnd(): Promise<TrainingResult> {
    const { steps, logEvery = 1, evaluation, checkpoints, resume, signal } = this.#options;
    if (resume !== undefined) await this.#restore(resume);
    let report: Promise<void> = Promise.resolve();
    let last: Evaluation | undefined;
    while (this.#done < steps) {
      await nextTurn();
      if (signal?.aborted) {
        await report;
        await this.#save();
        throw signal.reason;
      }
      const learningRate = await this.#step();
      const isEnd = this.#done === steps;
      // The report of the step before is awaited only now, after this step was handed to the device.
      await report;
      const isEvaluation = evaluation !== undefined && (isEnd || this.#done % evaluation.every === 0);
      const isCheckpoint = checkpoints !== undefined && (isEnd || this.#done % checkpoints.every === 0);
      if (isEnd || isEvaluation || isCheckpoint || this.#done % logEvery === 0) {
        report = this.#report(learningRate);
        // Its error is thrown where it is awaited; until then it must not count as unhandled.
        report.catch(() => undefined);
      }
      if (isEvaluation) {
        await report;
        last = await this.#evaluate(evaluation);
      }
      if (isCheckpoint) {
        await report;
        await this.#save();
      }
    }
    await report;
    return { steps: this.#done, tokens: this.#tokens, loss: this.#loss, evaluation: last };
  }

  dispose(): void {
    this.#key.dispose();
  }

  /** Does one step and returns its learning rate. */
  async #step(): Promise<number> {
    const { learningRate: peak, schedule = { kind: "constant" } } = this.#options;
    const { device, step, state } = this.#parts;
    const rate = peak * scheduleFactor(schedule, this.#done);
    const hostBatches = await this.#nextBatches();
    const batches = hostBatches.map(({ tokens, rows, columns }) => ({
      tokens: tensor(device, tokens, { shape: [rows, columns] }),
    }));
    const keys = batches.map((_, micro) => this.#noiseKey(this.#done * batches.length + micro));
    const learningRate = tensor(device, rate);
    try {
      step.run(state, batches, { learningRate, keys });
    } finally {
      disposeTree([batches, keys, learningRate]);
    }
    this.#done++;
    for (const { rows, columns } of hostBatches) this.#tokens += rows * (columns - 1);
    return rate;
  }

  async #nextBatches(): Promise<HostBatch[]> {
    const { microBatches = 1, data, steps } = this.#options;
    const batches: HostBatch[] = [];
    while (batches.length < microBatches) {
      const batch = await data.next();
      if (batch === undefined) {
        const message = `train: the data must last for all steps; got their end at step ${this.#done + 1} of ${steps}. Allow more epochs, or fewer steps.`;
        throw new HeddleError("config", message, { step: this.#done + 1, steps });
      }
      batches.push(batch);
    }
    return batches;
  }

  #noiseKey(use: number): Tensor {
    const number = tensor(this.#parts.device, Uint32Array.of(use));
    try {
      return foldIn(this.#key, number);
    } finally {
      number.dispose();
    }
  }

  /** Reads back the metrics of the step just done and reports them. */
  async #report(learningRate: number): Promise<void> {
    const { metrics } = this.#parts.state;
    const [step, tokens] = [this.#done, this.#tokens];
    const [loss, gradNorm] = await Promise.all([metrics.loss.item(), metrics.gradNorm.item()]);
    if (!Number.isFinite(loss) || !Number.isFinite(gradNorm))
      throw notFinite(step, { loss, gradNorm, lastGood: this.#lossStep });
    this.#loss = loss;
    this.#lossStep = step;
    const tokensPerSecond = this.#pace.mark(tokens);
    this.#options.onEvent?.({ kind: "step", step, loss, gradNorm, learningRate, tokens, tokensPerSecond });
  }

  async #evaluate(evaluation: EvaluationOptions<Weights>): Promise<Evaluation | undefined> {
    const resume = this.#pace.pause();
    const result = await this.#parts.evaluator?.run(this.#options.weights, evaluation.batches());
    if (result !== undefined) this.#options.onEvent?.({ kind: "evaluation", step: this.#done, ...result });
    resume();
    return result;
  }

  async #save(): Promise<void> {
    const { checkpoints, data } = this.#options;
    if (checkpoints === undefined) return;
    const resume = this.#pace.pause();
    const content = runContent(this.#parts.state, {
      step: this.#done,
      tokens: this.#tokens,
      data: data.position(),
    });
    const path = await checkpoints.save(content);
    this.#options.onEvent?.({ kind: "checkpoint", step: this.#done, path });
    resume();
  }

  async #restore(saved: SavedRun): Promise<void> {
    const { step, tokens, data } = await restoreRun(saved, this.#parts.state, this.#parts.device);
    await this.#options.data.seek(data);
    this.#done = step;
    this.#tokens = tokens;
    this.#lossStep = step;
    this.#pace.restart(tokens);
  }
}

function deviceOf(weights: unknown): Device {
  const first = trainedWeights(weights)[0];
  if (first === undefined) {
    const message =
      "train: weights must hold at least one float tensor; got none. Pass the tree that the model computes with.";
    throw new HeddleError("config", message);
  }
  return first.weight.device;
}

function checkCounts<Weights>(options: TrainOptions<Weights>): void {
  const { steps, logEvery, evaluation, checkpoints, microBatches } = options;
  const counts = {
    steps,
    logEvery,
    microBatches,
    "evaluation.every": evaluation?.every,
    "checkpoints.every": checkpoints?.every,
  };
  for (const [name, value] of Object.entries(counts)) {
    if (value === undefined || (Number.isSafeInteger(value) && value >= 1)) continue;
    const message = `train: ${name} must be a whole number >= 1; got ${value}. Pass a greater one.`;
    throw new HeddleError("config", message, { [name]: value });
  }
}

function notFinite(
  step: number,
  {
    loss,
    gradNorm,
    lastGood,
  }: { readonly loss: number; readonly gradNorm: number; readonly lastGood: number },
): HeddleError {
  const since = lastGood === step - 1 ? "" : ` (the last good loss was read at step ${lastGood})`;
  const message = `train: loss and gradient must stay finite; got loss ${loss}, gradient norm ${gradNorm} at step ${step}${since}. Lower the learning rate, warm up longer or clip the gradient, and resume from the last checkpoint.`;
  return new HeddleError("config", message, { step, loss, gradNorm, lastGood });
}
