import type { WorkerLike } from "./worker-like.js";

/** Where a training stands; plain data. */
export interface TrainingState {
  readonly version: 1;
  /** Texts that have been read; of no meaning once all have. */
  readonly numTexts: number;
  /** All texts have been read. */
  readonly isCounted: boolean;
  /** Words with their counts. */
  readonly words: readonly (readonly [word: string, count: number])[];
  /** Byte-pair training: the merges made so far. */
  readonly merges?: readonly (readonly [left: string, right: string])[];
  /** Unigram training: the pieces that are left after a round, with their scores. */
  readonly pieces?: readonly (readonly [piece: string, score: number])[];
}

/** How far training has come. */
export interface TrainingProgress {
  /** "count": reading the corpus, in UTF-16 units; "merge": making tokens (unigram: dropping pieces). */
  readonly phase: "count" | "merge";
  readonly done: number;
  /** null while the end is not known. */
  readonly total: number | null;
}

/** Lets a caller watch, stop and resume a training, and have it read the corpus in several threads. */
export interface TrainingControl {
  /** Called at most about twenty times a second. */
  readonly onProgress?: ((progress: TrainingProgress) => void) | undefined;
  /** Stops the training with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** Given the state from time to time and when the training is stopped; plain data for JSON.stringify. */
  readonly onCheckpoint?: ((state: TrainingState) => void) | undefined;
  /** Time between two checkpoints; default 60 000. */
  readonly checkpointEveryMs?: number | undefined;
  /** Goes on from a state; give the same texts and options. The result is that of an unbroken training. */
  readonly resume?: TrainingState | undefined;
  /** Threads that run `serveTraining` and share the counting of words; the result is the same. Default none. */
  readonly workers?: readonly WorkerLike[] | undefined;
}

const INTERVAL_MS = 50;

/**
 * Creates a function to call often during long work: about twenty times a second it reports, checks for a stop and
 * returns a pause to await, so that a page or server stays responsive; otherwise it returns null.
 */
export function createPacer(
  control: Pick<TrainingControl, "onProgress" | "signal">,
  phase: TrainingProgress["phase"],
): (done: number, total: number | null) => Promise<void> | null {
  control.signal?.throwIfAborted();
  let last = performance.now();
  return (done, total) => {
    if (performance.now() - last < INTERVAL_MS) return null;
    control.signal?.throwIfAborted();
    control.onProgress?.({ phase, done, total });
    return new Promise((resolve) => {
      setTimeout(() => {
        last = performance.now();
        resolve();
      }, 0);
    });
  };
}
