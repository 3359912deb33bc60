import { HeddleError } from "../error.js";
import type { TrainingControl, TrainingState } from "./progress.js";

/** The state of a training that has counted its words. */
export function countedState(
  words: Iterable<readonly [string, number]>,
  reached: Pick<TrainingState, "merges" | "pieces">,
): TrainingState {
  return { version: 1, numTexts: 0, isCounted: true, words: [...words], ...reached };
}

/** Takes checkpoints of a training: when their time has come, and when the training stops for any reason. */
export interface Checkpoints {
  /** Takes one if its time has come. */
  offer(takeState: () => TrainingState | Promise<TrainingState>): Promise<void> | null;
  /** Runs a part of the training; if it fails, the state that it has reached is handed out first. */
  guard<Result>(
    takeState: () => TrainingState | Promise<TrainingState>,
    work: () => Promise<Result>,
  ): Promise<Result>;
}

/** Creates what takes checkpoints as the options ask for it. */
export function createCheckpoints(control: TrainingControl): Checkpoints {
  const { onCheckpoint, checkpointEveryMs = 60_000 } = control;
  let last = performance.now();
  const take = async (takeState: () => TrainingState | Promise<TrainingState>): Promise<void> => {
    onCheckpoint?.(await takeState());
    last = performance.now();
  };
  return {
    offer: (takeState) =>
      onCheckpoint === undefined || performance.now() - last < checkpointEveryMs ? null : take(takeState),
    async guard(takeState, work) {
      try {
        return await work();
      } catch (error) {
        await take(takeState);
        throw error;
      }
    },
  };
}

/**
 * Checks a state that a training is to go on from; undefined if there is none.
 *
 * @throws HeddleError "format" naming what is wrong
 */
export function checkState(caller: string, state: TrainingState | undefined): TrainingState | undefined {
  if (state === undefined) return undefined;
  const isEntry = (entry: unknown) =>
    Array.isArray(entry) && typeof entry[0] === "string" && Number.isFinite(entry[1]);
  const isRight =
    state.version === 1 &&
    Number.isInteger(state.numTexts) &&
    state.numTexts >= 0 &&
    typeof state.isCounted === "boolean" &&
    Array.isArray(state.words) &&
    state.words.every(isEntry);
  if (isRight) return state;
  throw new HeddleError(
    "format",
    `${caller}: resume must be a state that onCheckpoint gave; got version ${String(state.version)}, numTexts ${String(state.numTexts)}, isCounted ${String(state.isCounted)}. Start without it or correct the saved file.`,
    { version: state.version, numTexts: state.numTexts },
  );
}
