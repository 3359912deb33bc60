export { type ClipOptions, clipByNorm, clipByValue, globalNorm } from "./clip-gradients.js";
export { type AdamState, type AdamWOptions, adamW, decayMatrices } from "./optimizers/adamw.js";
export type { Optimizer, OptimizerState, UpdateOptions } from "./optimizers/optimizer.js";
export { type SgdOptions, type SgdState, sgd } from "./optimizers/sgd.js";
export {
  type CosineSchedule,
  type RampShape,
  type Schedule,
  scheduleFactor,
  type WarmupStableDecaySchedule,
} from "./schedules.js";
export {
  causalLm,
  type LanguageModel,
  type LossTerms,
  type Objective,
  type ObjectiveContext,
  type TokenBatch,
} from "./objective.js";
export {
  createTrainingStep,
  disposeState,
  type TrainingState,
  type TrainingStep,
  type TrainingStepOptions,
} from "./training-step.js";
