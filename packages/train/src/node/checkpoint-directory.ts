import {
  listCheckpoints,
  openCheckpoint,
  type SavedCheckpoint,
  saveCheckpoint,
} from "@heddle/checkpoints/node";
import type { RunCheckpoint } from "../run-checkpoint.js";

/** Checkpoints of a run in a directory, for `train({ checkpoints, resume })`. */
export interface CheckpointDirectory {
  save(content: RunCheckpoint): Promise<string>;
  /** The newest finished checkpoint; undefined where there is none. */
  latest(): Promise<SavedCheckpoint | undefined>;
}

/**
 * Keeps the checkpoints of a run in a directory. Each is written beside the others and switched to at once, so a process
 * that is killed while saving leaves the one before usable.
 *
 * @param options.keepLast  default 2
 */
export function checkpointDirectory(
  directory: string,
  { keepLast = 2 }: { readonly keepLast?: number } = {},
): CheckpointDirectory {
  return {
    save: (content) => saveCheckpoint(directory, content, { keepLast }),
    latest: async () =>
      (await listCheckpoints(directory)).length === 0 ? undefined : openCheckpoint(directory),
  };
}
