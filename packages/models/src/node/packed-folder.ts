import { createHash } from "node:crypto";
import { basename, resolve } from "node:path";
import { directorySink, directorySource } from "@heddle/checkpoints/node";
import type { LoadWeightsOptions } from "../loading/load-weights.js";
import type { PackedCache, PackedCacheState } from "../loading/packed-cache.js";

/** How a model is loaded from disk. */
export interface OpenModelOptions extends Omit<LoadWeightsOptions, "packedCache"> {
  /**
   * Folder, made if need be, that keeps the packed form of quantised weights: about as large as the GGUF file, one file for each, found
   * by the place of the model. The first load writes it, later ones only read. It is written anew when model, options or Heddle's
   * layout have changed; delete the folder at any time. Default: none is kept.
   */
  readonly packedCache?: string;
  /** Told what became of the packed form, once a load with `packedCache`. */
  readonly onPackedCache?: (state: PackedCacheState) => void;
}

/** The options of a load through sources. */
export function withPackedFolder(
  path: string,
  { packedCache, onPackedCache, ...options }: OpenModelOptions,
): LoadWeightsOptions {
  return packedCache === undefined
    ? options
    : { ...options, packedCache: packedFolder(packedCache, path, onPackedCache) };
}

function packedFolder(folder: string, model: string, onState: PackedCache["onState"]): PackedCache {
  const place = createHash("sha256").update(resolve(model)).digest("hex").slice(0, 16);
  return {
    source: directorySource(folder),
    sink: directorySink(folder),
    name: `${basename(model)}-${place}.packed`,
    ...(onState && { onState }),
  };
}
