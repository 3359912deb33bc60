import { directorySink, directorySource } from "@heddle/checkpoints/node";
import { type AnyModel, type LoadedModel, loadAnyModel, loadModel } from "../load-model.js";
import type { LoadWeightsOptions } from "../load-weights.js";
import { type SaveModelOptions, saveModel } from "../save-model.js";

/** Loads a model from a Hugging Face directory on disk; see `loadModel`. */
export async function openModel(directory: string, options: LoadWeightsOptions): Promise<LoadedModel> {
  return loadModel(directorySource(directory), options);
}

/** Loads a model of whatever architecture from a directory on disk; see `loadAnyModel`. */
export async function openAnyModel(directory: string, options: LoadWeightsOptions): Promise<AnyModel> {
  return loadAnyModel(directorySource(directory), options);
}

/** Writes a model as a Hugging Face directory on disk; see `saveModel`. */
export async function saveModelDirectory(
  directory: string,
  model: Pick<AnyModel, "config" | "weights">,
  options: SaveModelOptions = {},
): Promise<void> {
  await saveModel(directorySink(directory), model, options);
}
