import { existsSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import type { AnyModel, LoadedModel } from "@heddle/models";
import { type OpenModelOptions, openAnyModel, openModel } from "@heddle/models/node";
import { type Device, HeddleError } from "@heddle/tensor";
import { modelFiles } from "@heddle/tiny-stories";
import { createProgress } from "./progress.js";
import type { Terminal } from "./terminal.js";

export interface NamedModel {
  readonly model: LoadedModel;
  /** Last part of the name of its directory or file, or "tiny-stories" for the embedded one. */
  readonly name: string;
  readonly path: string;
}

/** Where a model goes, and who watches it come. */
export interface OpeningPlace {
  readonly device: Device;
  readonly terminal: Terminal;
  /** Folder that keeps packed weights between calls. Default: none. */
  readonly packedCache?: string | undefined;
}

/**
 * Opens a model directory or GGUF file, or the embedded model where none is named; on a terminal with a bar. The caller
 * disposes the model.
 */
export async function openNamedModel(named: string | undefined, place: OpeningPlace): Promise<NamedModel> {
  const path = named ?? embeddedModel();
  const name = named === undefined ? "tiny-stories" : basename(resolve(named)).replace(/\.gguf$/i, "");
  return { model: await withProgress(place, (options) => openModel(path, options)), name, path };
}

/** As `openNamedModel`, for a model of whatever architecture. */
export async function openAnyNamedModel(named: string | undefined, place: OpeningPlace): Promise<AnyModel> {
  return withProgress(place, (options) => openAnyModel(named ?? embeddedModel(), options));
}

/** Runs a load with a bar on the terminal. */
async function withProgress<Model>(
  { device, terminal, packedCache }: OpeningPlace,
  load: (options: OpenModelOptions) => Promise<Model>,
): Promise<Model> {
  const progress = createProgress(terminal, {
    format: "load {bar} {percentage} %",
    total: 1,
    isForced: false,
  });
  try {
    return await load({
      device,
      signal: terminal.signal,
      ...(packedCache === undefined ? {} : { packedCache }),
      onPackedCache(state) {
        if (state.kind === "failed") terminal.note(`the packed weights are not kept: ${state.error}`);
      },
      onProgress: ({ loadedBytes, totalBytes }) => progress.update(loadedBytes / Math.max(1, totalBytes)),
    });
  } finally {
    progress.stop();
  }
}

/** The directory of the model in @heddle/tiny-stories, or undefined where a file of it is missing. */
export function findEmbeddedModel(): string | undefined {
  try {
    const manifest = fileURLToPath(import.meta.resolve("@heddle/tiny-stories/package.json"));
    const directory = join(dirname(manifest), "model");
    return modelFiles.every((file) => existsSync(join(directory, file))) ? directory : undefined;
  } catch {
    return undefined;
  }
}

/** The directory of the model in @heddle/tiny-stories. @throws HeddleError "config" where a file of it is missing */
function embeddedModel(): string {
  const directory = findEmbeddedModel();
  if (directory !== undefined) return directory;
  const message =
    "heddle: a model must be named; got none, and the embedded one is not complete. Pass --model with a directory or a GGUF file, or install @heddle/tiny-stories again.";
  throw new HeddleError("config", message);
}
