export { type CheckpointDirectory, checkpointDirectory } from "./checkpoint-directory.js";
export { type LossLog, openLossLog } from "./loss-log.js";
export { type TextFilesOptions, textFiles } from "./text-files.js";
