import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { writeText } from "@heddle/checkpoints";
import { directorySink, type SavedCheckpoint } from "@heddle/checkpoints/node";
import { HeddleError } from "@heddle/tensor";
import { type CheckpointDirectory, checkpointDirectory, type LossLog, openLossLog } from "@heddle/train/node";
import type { ResolvedConfig } from "./read-config.js";

/** The folder that a training run writes. */
export interface RunFolder {
  readonly checkpoints: CheckpointDirectory;
  readonly log: LossLog;
  /** Where the run stood; undefined for a new one. */
  readonly resume: SavedCheckpoint | undefined;
  /** Tokenizer of the run, in a folder of its own. */
  readonly tokenizerPath: string;
  /** The Hugging Face directory made at the end. */
  readonly modelPath: string;
  readonly lossCurvePath: string;
}

/**
 * Opens the output folder: `train.json` (the configuration as it was understood), `tokenizer/`, `checkpoints/`,
 * `loss.jsonl`, `loss.svg`, and at the end `model/`.
 *
 * @throws HeddleError "config" if the folder holds a run and this one does not resume, or the other way round
 */
export async function openRunFolder(config: ResolvedConfig, isResumed: boolean): Promise<RunFolder> {
  const { output } = config;
  const checkpoints = checkpointDirectory(join(output, "checkpoints"), {
    keepLast: config.checkpoints.keepLast,
  });
  const resume = await checkpoints.latest();
  if (!isResumed && (resume !== undefined || existsSync(join(output, "loss.jsonl")))) {
    const message = `train: the output folder must be free; got "${output}", which holds a run. Pass --resume to go on, or another --output.`;
    throw new HeddleError("config", message, { output });
  }
  if (isResumed && resume === undefined) {
    const message = `train: --resume needs a folder with a checkpoint; got "${output}" with none. Leave --resume out, or check the path.`;
    throw new HeddleError("config", message, { output });
  }
  await mkdir(output, { recursive: true });
  await writeText(directorySink(output), "train.json", `${JSON.stringify(config, null, 2)}\n`);
  return {
    checkpoints,
    resume,
    log: await openLossLog(join(output, "loss.jsonl"), { resumeStep: resume?.step ?? 0 }),
    tokenizerPath: join(output, "tokenizer"),
    modelPath: join(output, "model"),
    lossCurvePath: join(output, "loss.svg"),
  };
}
