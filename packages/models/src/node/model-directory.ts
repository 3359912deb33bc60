import { basename, dirname } from "node:path";
import type { FileSource } from "@heddle/checkpoints";
import { directorySink, directorySource } from "@heddle/checkpoints/node";
import { loadAnyGguf, loadGguf } from "../gguf/load-gguf.js";
import { type AnyModel, type LoadedModel, loadAnyModel, loadModel } from "../loading/load-model.js";
import { type SaveModelOptions, saveModel } from "../loading/save-model.js";
import { type OpenModelOptions, withPackedFolder } from "./packed-folder.js";

/**
 * Loads a decoder from disk: a Hugging Face directory (see `loadModel`) or a GGUF file, whose name ends in ".gguf" (see
 * `loadGguf`).
 */
export async function openModel(path: string, options: OpenModelOptions): Promise<LoadedModel> {
  const loading = withPackedFolder(path, options);
  return isGguf(path) ? loadGguf(...fileOf(path), loading) : loadModel(directorySource(path), loading);
}

/** Loads a model of whatever architecture from disk: a directory (see `loadAnyModel`) or a GGUF file. */
export async function openAnyModel(path: string, options: OpenModelOptions): Promise<AnyModel> {
  const loading = withPackedFolder(path, options);
  return isGguf(path) ? loadAnyGguf(...fileOf(path), loading) : loadAnyModel(directorySource(path), loading);
}

function isGguf(path: string): boolean {
  return path.toLowerCase().endsWith(".gguf");
}

function fileOf(path: string): readonly [source: FileSource, file: string] {
  return [directorySource(dirname(path)), basename(path)];
}

/** Writes a model as a Hugging Face directory on disk; see `saveModel`. */
export async function saveModelDirectory(
  directory: string,
  model: Pick<AnyModel, "config" | "weights">,
  options: SaveModelOptions = {},
): Promise<void> {
  await saveModel(directorySink(directory), model, options);
}
