export { type ClipOptions, clipByNorm, clipByValue, globalNorm } from "./clip-gradients.js";
export {
  createDocumentStream,
  type DocumentStream,
  type DocumentStreamOptions,
  type DocumentStreamPosition,
} from "./data/document-stream.js";
export { createHeldOut } from "./data/held-out.js";
export {
  type BatchSource,
  createPackedBatches,
  type HostBatch,
  type PackedBatchesOptions,
  type PackingPosition,
} from "./data/packed-batches.js";
export { type Place, type TextDocument, type TextSource, textArray } from "./data/text-source.js";
export { createEvaluator, type Evaluation, type Evaluator } from "./evaluate.js";
export { type LossCurveOptions, type LossPoint, lossCurveSvg } from "./loss-curve.js";
export {
  causalLm,
  givenLabels,
  type LanguageModel,
  type LossTerms,
  type Objective,
  type ObjectiveContext,
  type TokenBatch,
} from "./objective.js";
export { type AdamState, type AdamWOptions, adamW, decayMatrices } from "./optimizers/adamw.js";
export type { Optimizer, OptimizerState, UpdateOptions } from "./optimizers/optimizer.js";
export { type SgdOptions, type SgdState, sgd } from "./optimizers/sgd.js";
export { type Perplexity, type PerplexityOptions, type PerplexityWindow, perplexity } from "./perplexity.js";
export type { RunCheckpoint, RunPosition, SavedRun } from "./run-checkpoint.js";
export {
  type CosineSchedule,
  type RampShape,
  type Schedule,
  scheduleFactor,
  type WarmupStableDecaySchedule,
} from "./schedules.js";
export { type BleuOptions, type BleuScore, bleu } from "./text-metrics/bleu.js";
export { type ChrfOptions, chrf } from "./text-metrics/chrf.js";
export type { BleuTokenizer } from "./text-metrics/metric-tokens.js";
export { type TerOptions, ter } from "./text-metrics/ter.js";
export {
  type CheckpointOptions,
  type EvaluationOptions,
  type TrainingResult,
  type TrainOptions,
  train,
} from "./train.js";
export type { TrainingEvent } from "./training-events.js";
export {
  createTrainingStep,
  disposeState,
  type TrainingState,
  type TrainingStep,
  type TrainingStepOptions,
} from "./training-step.js";
