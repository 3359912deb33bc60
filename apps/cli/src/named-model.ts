import { existsSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import type { AnyModel, LoadedModel } from "@heddle/models";
import { openAnyModel, openModel } from "@heddle/models/node";
import { type Device, HeddleError } from "@heddle/tensor";
import { modelFiles } from "@heddle/tiny-stories";

export interface NamedModel {
  readonly model: LoadedModel;
  /** Last part of its directory's name, or "tiny-stories" for the embedded one. */
  readonly name: string;
  readonly directory: string;
}

/** Opens a model directory, or the embedded model where none is named. The caller disposes the model. */
export async function openNamedModel(directory: string | undefined, device: Device): Promise<NamedModel> {
  const path = directory ?? embeddedModel();
  const name = directory === undefined ? "tiny-stories" : basename(resolve(directory));
  return { model: await openModel(path, { device }), name, directory: path };
}

/** Opens a model of whatever architecture from a directory, or the embedded one. The caller disposes it. */
export async function openAnyNamedModel(directory: string | undefined, device: Device): Promise<AnyModel> {
  return openAnyModel(directory ?? embeddedModel(), { device });
}

/** The directory of the model in @heddle/tiny-stories. @throws HeddleError "config" where a file of it is missing */
function embeddedModel(): string {
  try {
    const manifest = fileURLToPath(import.meta.resolve("@heddle/tiny-stories/package.json"));
    const directory = join(dirname(manifest), "model");
    if (modelFiles.every((file) => existsSync(join(directory, file)))) return directory;
  } catch {
    // Not there: the error below says what to do.
  }
  const message =
    "heddle: a model must be named; got none, and the embedded one is not complete. Pass --model DIRECTORY, or install @heddle/tiny-stories again.";
  throw new HeddleError("config", message);
}
