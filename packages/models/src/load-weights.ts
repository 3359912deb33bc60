import { loadTensor, type SafetensorsFiles } from "@heddle/checkpoints";
import { type Device, type FloatDType, invariant, scope, split, type Tensor } from "@heddle/tensor";
import type { DecoderConfig } from "./config.js";
import { locateWeights, type StoredWeight } from "./weight-map.js";
import { buildWeights, type DecoderWeights } from "./weights.js";

export interface LoadWeightsOptions {
  readonly device: Device;
  /** Dtype of the loaded floats; "stored" keeps that of the file. Default: `device.defaultFloat`. */
  readonly dtype?: FloatDType | "stored";
  readonly onProgress?: (progress: { readonly loadedBytes: number; readonly totalBytes: number }) => void;
  readonly signal?: AbortSignal;
}

/**
 * Loads a checkpoint's tensors into the tree of a configuration, all or none.
 *
 * Names and shapes of all tensors are checked before the first is loaded.
 * @returns a tree that the caller disposes
 * @throws HeddleError "format" listing every tensor that is missing, unexpected or of another shape
 */
export async function loadWeights(
  config: DecoderConfig,
  files: SafetensorsFiles,
  { device, dtype, onProgress, signal }: LoadWeightsOptions,
): Promise<DecoderWeights> {
  const located = locateWeights(config, files.tensors);
  const sizeOf = (name: string) => {
    const { start = 0, end = 0 } = files.tensors.get(name) ?? {};
    return end - start;
  };
  const totalBytes = located.reduce((sum, { storedName }) => sum + sizeOf(storedName), 0);
  const byPath = new Map<string, Tensor>();
  let loadedBytes = 0;
  try {
    for (const weight of located) {
      signal?.throwIfAborted();
      const stored = await loadTensor(files, weight.storedName, { device, dtype });
      for (const [at, part] of takeApart(stored, weight).entries())
        byPath.set(weight.parts[at]?.path ?? "", part);
      loadedBytes += sizeOf(weight.storedName);
      onProgress?.({ loadedBytes, totalBytes });
    }
  } catch (error) {
    for (const tensor of byPath.values()) tensor.dispose();
    throw error;
  }
  return buildWeights(config, (path) => {
    const tensor = byPath.get(path);
    invariant(tensor, `the weight map covers ${path}`);
    return tensor;
  });
}

/** Turns a stored tensor, which it consumes, into the weights that it holds. */
function takeApart(stored: Tensor, { isTransposed, parts }: StoredWeight): readonly Tensor[] {
  if (!isTransposed && parts.length === 1) return [stored];
  try {
    return scope(stored.device, () => {
      const rows = isTransposed ? stored.transpose([1, 0]) : stored;
      if (parts.length === 1) return [rows];
      return split(
        rows,
        parts.map(({ shape }) => shape[0] ?? 0),
        { axis: 0 },
      );
    });
  } finally {
    stored.dispose();
  }
}
