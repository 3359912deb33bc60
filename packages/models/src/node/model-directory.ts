import { basename, dirname } from "node:path";
import { directorySink, directorySource } from "@heddle/checkpoints/node";
import { loadGguf } from "../gguf/load-gguf.js";
import { type AnyModel, type LoadedModel, loadAnyModel, loadModel } from "../loading/load-model.js";
import type { LoadWeightsOptions } from "../loading/load-weights.js";
import { type SaveModelOptions, saveModel } from "../loading/save-model.js";

/**
 * Loads a decoder from disk: a Hugging Face directory (see `loadModel`) or a GGUF file, whose name ends in ".gguf" (see
 * `loadGguf`).
 */
export async function openModel(path: string, options: LoadWeightsOptions): Promise<LoadedModel> {
  return isGguf(path) ? openGgufModel(path, options) : loadModel(directorySource(path), options);
}

/** Loads a model of whatever architecture from disk: a directory (see `loadAnyModel`) or a GGUF file. */
export async function openAnyModel(path: string, options: LoadWeightsOptions): Promise<AnyModel> {
  return isGguf(path) ? openGgufModel(path, options) : loadAnyModel(directorySource(path), options);
}

function isGguf(path: string): boolean {
  return path.toLowerCase().endsWith(".gguf");
}

function openGgufModel(path: string, options: LoadWeightsOptions): Promise<LoadedModel> {
  return loadGguf(directorySource(dirname(path)), basename(path), options);
}

/** Writes a model as a Hugging Face directory on disk; see `saveModel`. */
export async function saveModelDirectory(
  directory: string,
  model: Pick<AnyModel, "config" | "weights">,
  options: SaveModelOptions = {},
): Promise<void> {
  await saveModel(directorySink(directory), model, options);
}
