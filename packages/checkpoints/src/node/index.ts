export { directorySink, directorySource, writeAtomically } from "./directory.js";
export type { Json } from "./json-state.js";
export {
  type CheckpointContent,
  listCheckpoints,
  openCheckpoint,
  type SavedCheckpoint,
  saveCheckpoint,
} from "./training-checkpoint.js";
