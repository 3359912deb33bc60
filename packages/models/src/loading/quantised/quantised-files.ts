import type { SafetensorsFiles, StoredTensor } from "@heddle/checkpoints";
import { HeddleError } from "@heddle/tensor";
import type { LoadParts } from "./quantised-weight.js";
import { scaledFloat8 } from "./scaled-float8.js";
import { stackedMxfp4 } from "./stacked-mxfp4.js";
import type { StoredQuantisation } from "./stored-quantisation.js";

/** A checkpoint's tensors as the rules of its family name them, and how those are loaded that are stored in fewer bits. */
export interface QuantisedFiles {
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  /** By name; all others lie in the file as they are listed. */
  readonly loaders: ReadonlyMap<string, LoadParts>;
}

/**
 * Sees a checkpoint as if its weights were stored as they are used.
 *
 * @throws HeddleError "format" listing the tensors of which codes and scales do not fit together
 */
export function quantisedFiles(files: SafetensorsFiles, quantisation?: StoredQuantisation): QuantisedFiles {
  if (quantisation === undefined) return { tensors: files.tensors, loaders: new Map() };
  const { weights, problems } =
    quantisation.method === "mxfp4" ? stackedMxfp4(files) : scaledFloat8(files, quantisation.blockShape);
  if (problems.length > 0) throw misfit(quantisation.method, problems);
  const tensors = new Map(files.tensors);
  for (const [name, { holders, listed }] of weights) {
    for (const holder of holders) tensors.delete(holder);
    tensors.set(name, listed);
  }
  return { tensors, loaders: new Map([...weights].map(([name, { load }]) => [name, load])) };
}

function misfit(method: string, problems: readonly string[]): HeddleError {
  const more = problems.length > 20 ? `; and ${problems.length - 20} more` : "";
  const message = `loadModel: codes and scales of ${method} weights must fit together; got ${problems.slice(0, 20).join("; ")}${more}. The checkpoint is incomplete or damaged: copy it again.`;
  return new HeddleError("format", message, { problems });
}
