import {
  type LoadTensorsOptions,
  loadTensor,
  loadTensorPieces,
  type SafetensorsFiles,
} from "@heddle/checkpoints";
import { byteWidth, type Device, invariant, RowPieces, stack, Tensor } from "@heddle/tensor";
import type { DecoderConfig, ModelConfig } from "../config.js";
import { findFamily } from "../families/registry.js";
import type { DecoderWeights } from "../weights.js";
import type { PackedCache } from "./packed-cache.js";
import { quantisedFiles } from "./quantised/quantised-files.js";
import type { LoadedPart, LoadParts } from "./quantised/quantised-weight.js";
import type { StoredQuantisation } from "./quantised/stored-quantisation.js";
import { takeApart } from "./stored-layout.js";
import {
  canStayHalf,
  isCuttable,
  type LocatedWeight,
  locateWeights,
  type Slice,
  type StoredPart,
} from "./weight-map.js";

/** How tensors are loaded; which ones, the configuration says. */
export interface LoadWeightsOptions extends Omit<LoadTensorsOptions, "names"> {
  /** Keeps the packed form of quantised weights on disk, so that the next load only reads; see `PackedCache`. */
  readonly packedCache?: PackedCache;
}

/** Loads a decoder's weights; see `loadTree`. */
export async function loadWeights(
  config: DecoderConfig,
  files: SafetensorsFiles,
  options: LoadWeightsOptions,
): Promise<DecoderWeights> {
  return (await loadTree(config, files, options)) as DecoderWeights;
}

/**
 * Loads a checkpoint's tensors into the tree of a configuration, all or none.
 *
 * Names and shapes of all tensors are checked before the first is loaded.
 * @param options.quantisation  how weights are stored in fewer bits, as config.json says
 * @returns a tree that the caller disposes, of the kind that the family's architecture builds
 * @throws HeddleError "format" listing every tensor that is missing, unexpected or of another shape
 */
export async function loadTree(
  config: ModelConfig,
  files: SafetensorsFiles,
  {
    device,
    dtype,
    packedCache,
    onProgress,
    signal,
    quantisation,
  }: LoadWeightsOptions & { readonly quantisation?: StoredQuantisation | undefined },
): Promise<unknown> {
  const { tensors, loaders } = quantisedFiles(files, quantisation);
  const located = locateWeights(config, tensors);
  const sizeOf = (name: string) => {
    const { start = 0, end = 0 } = tensors.get(name) ?? {};
    return end - start;
  };
  const totalBytes = located.reduce((sum, { storedName }) => sum + sizeOf(storedName), 0);
  const gathered = gatherWeights();
  let loadedBytes = 0;
  try {
    for (const weight of located) {
      signal?.throwIfAborted();
      const load = loaders.get(weight.storedName) ?? loadPlain(files, sizeOf(weight.storedName));
      for (const [at, part] of (await load(weight, { device, dtype })).entries())
        gathered.add(weight.parts[at], part);
      loadedBytes += sizeOf(weight.storedName);
      onProgress?.({ loadedBytes, totalBytes });
    }
  } catch (error) {
    gathered.dispose();
    throw error;
  }
  packedCache?.onState?.({ kind: "unneeded" });
  return findFamily(config.family).architecture.buildWeights(config, gathered.take);
}

/** Loads the parts of a weight that lies in the files as it is used, or in pieces where the device needs that. */
function loadPlain(files: SafetensorsFiles, storedBytes: number): LoadParts {
  return async (weight, { device, dtype }) => {
    const options = { device, dtype: dtype ?? (staysHalf(weight, files, device) ? "stored" : undefined) };
    const rows = rowsOfPieces(weight, storedBytes, options);
    if (rows === undefined) return takeApart(await loadTensor(files, weight.storedName, options), weight);
    return [new RowPieces(await loadTensorPieces(files, weight.storedName, { ...options, rows }))];
  };
}

/**
 * Rows that fit into one tensor of the device, where a matrix that lies in the file as it is used does not; else undefined.
 *
 * @param storedBytes  of the whole matrix; it may become wider on the device
 */
function rowsOfPieces(
  weight: LocatedWeight,
  storedBytes: number,
  { device, dtype }: Pick<LoadTensorsOptions, "device" | "dtype">,
): number | undefined {
  if (!isCuttable(weight)) return undefined;
  const [rows = 0, columns = 0] = weight.shape;
  const width = byteWidth(dtype === undefined || dtype === "stored" ? device.defaultFloat : dtype);
  const rowBytes = Math.max(storedBytes / rows, columns * width);
  const { maxBufferBytes } = device.limits;
  return rows * rowBytes <= maxBufferBytes ? undefined : Math.max(1, Math.floor(maxBufferBytes / rowBytes));
}

/** Halves stay so where they can; other floats become the device's. */
function staysHalf(weight: LocatedWeight, { tensors }: SafetensorsFiles, device: Device): boolean {
  const { dtype } = tensors.get(weight.storedName) ?? {};
  return (dtype === "F16" || dtype === "BF16") && canStayHalf(weight, device);
}

/** Weights as they come, by path; the slices of one weight are joined as soon as all are there. */
function gatherWeights() {
  const whole = new Map<string, LoadedPart>();
  const slices = new Map<string, Tensor[]>();
  const addSlice = (path: string, { index, count }: Slice, tensor: Tensor) => {
    const others = slices.get(path) ?? [];
    others[index] = tensor;
    slices.set(path, others);
    if (Object.keys(others).length < count) return;
    whole.set(path, stack(others));
    for (const other of others) other.dispose();
    slices.delete(path);
  };
  return {
    add(part: StoredPart | undefined, loaded: LoadedPart): void {
      invariant(part, "a stored tensor has no more parts than its rule says");
      if (part.slice === undefined) {
        whole.set(part.path, loaded);
        return;
      }
      invariant(loaded instanceof Tensor, `the slices of ${part.path} are dense`);
      addSlice(part.path, part.slice, loaded);
    },
    dispose(): void {
      for (const tensor of [...whole.values(), ...[...slices.values()].flat()]) tensor.dispose();
    },
    /** The tree takes it where a tensor is asked for: what is not dense lies only where another weight may stand. */
    take(path: string): Tensor {
      const loaded = whole.get(path);
      invariant(loaded, `the weight map covers ${path}`);
      return loaded as Tensor;
    },
  };
}
