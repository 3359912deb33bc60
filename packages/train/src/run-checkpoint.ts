import { type Device, disposeTree, flattenTree, HeddleError, type Tensor, writeInto } from "@heddle/tensor";
import { trainedWeights } from "./optimizers/trained-weights.js";
import type { TrainingState } from "./training-step.js";

/** Everything that a run needs to go on exactly: what `saveCheckpoint` of @heddle/checkpoints takes. */
export interface RunCheckpoint {
  readonly step: number;
  readonly trees: { readonly weights: Readonly<Record<string, Tensor>>; readonly optimizer: unknown };
  readonly state: RunPosition;
}

export type RunPosition = {
  readonly tokens: number;
  /** Position of the batch source. */
  readonly data: JsonValue;
};

/** Values that JSON keeps exactly. */
export type JsonValue =
  | null
  | boolean
  | number
  | string
  | readonly JsonValue[]
  | { readonly [key: string]: JsonValue };

/** A checkpoint on disk: what `openCheckpoint` of @heddle/checkpoints gives. */
export interface SavedRun {
  readonly step: number;
  readonly state: unknown;
  loadTree<Whole>(name: string, like: Whole, device: Device): Promise<Whole>;
}

/** Collects what a checkpoint holds; the tensors are borrowed. */
export function runContent(
  { weights, optimizer }: TrainingState<unknown>,
  { step, tokens, data }: { readonly step: number; readonly tokens: number; readonly data: unknown },
): RunCheckpoint {
  return {
    step,
    trees: { weights: weightsByPath(weights), optimizer },
    state: { tokens, data: data as JsonValue },
  };
}

/**
 * Puts a checkpoint back into a state, in place, and tells where the run stood.
 *
 * @throws HeddleError "format" where it was saved for other weights or another optimiser; nothing is changed then
 */
export async function restoreRun(
  saved: SavedRun,
  { weights, optimizer }: TrainingState<unknown>,
  device: Device,
): Promise<RunPosition & { readonly step: number }> {
  const position = checkPosition(saved.state);
  const targets = { weights: weightsByPath(weights), optimizer };
  const loadedWeights = await saved.loadTree("weights", targets.weights, device);
  try {
    const loadedOptimizer = await saved.loadTree("optimizer", targets.optimizer, device);
    copyInto(targets, { weights: loadedWeights, optimizer: loadedOptimizer });
    disposeTree(loadedOptimizer);
  } finally {
    disposeTree(loadedWeights);
  }
  return { ...position, step: saved.step };
}

/** Trained weights by path: frozen ones, which may be of kinds that files do not hold, stay where they came from. */
function weightsByPath(weights: unknown): Record<string, Tensor> {
  return Object.fromEntries(trainedWeights(weights).map(({ path, weight }) => [path, weight]));
}

function copyInto(targets: unknown, values: unknown): void {
  const from = flattenTree<Tensor, unknown>(values).leaves;
  for (const [at, target] of flattenTree<Tensor, unknown>(targets).leaves.entries()) {
    const value = from[at];
    if (value !== undefined) writeInto(target, value);
  }
}

function checkPosition(state: unknown): RunPosition {
  if (typeof state === "object" && state !== null && "tokens" in state && "data" in state) {
    const { tokens, data } = state;
    if (typeof tokens === "number") return { tokens, data: data as JsonValue };
  }
  const message =
    "train: the checkpoint must be one of a training run; got another state. Resume from a folder that train wrote.";
  throw new HeddleError("format", message);
}
