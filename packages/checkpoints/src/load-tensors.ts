import { type Device, type FloatDType, fromBytes, HeddleError, isFloat, type Tensor } from "@heddle/tensor";
import { decodeFloat8, isFloat8 } from "./float8.js";
import { formatError } from "./format-error.js";
import type { StoredTensor } from "./header.js";
import type { SafetensorsFiles } from "./safetensors.js";
import { dtypeOf, type StoredDType } from "./stored-dtype.js";

export interface LoadTensorsOptions {
  readonly device: Device;
  /** Which tensors. Default: all. */
  readonly names?: Iterable<string>;
  /**
   * Dtype of the loaded floats; "stored" keeps each as it is in the file, and 8-bit floats as f16, which holds their values exactly.
   * Default: `device.defaultFloat`.
   */
  readonly dtype?: FloatDType | "stored";
  /** Called after each tensor, with bytes of the files read so far and in all. */
  readonly onProgress?: (progress: { readonly loadedBytes: number; readonly totalBytes: number }) => void;
  readonly signal?: AbortSignal;
}

/**
 * Loads tensors onto a device, all or none: after an error nothing stays allocated.
 *
 * Floats become `dtype`; I64 becomes i32 (values must fit); other integers and booleans stay.
 * @returns tensors by name; the caller disposes them
 * @throws HeddleError "format" naming file, tensor and byte; "dtype" for element types that no device holds
 */
export async function loadTensors(
  files: SafetensorsFiles,
  options: LoadTensorsOptions,
): Promise<Record<string, Tensor>> {
  const names = [...(options.names ?? files.tensors.keys())];
  const loaded = new Map<string, Tensor>();
  const size = (name: string) => sizeOf(files, name);
  const totalBytes = names.reduce((sum, name) => sum + size(name), 0);
  let loadedBytes = 0;
  try {
    for (const name of names) {
      options.signal?.throwIfAborted();
      loaded.set(name, await loadTensor(files, name, options));
      loadedBytes += size(name);
      options.onProgress?.({ loadedBytes, totalBytes });
    }
    return Object.fromEntries(loaded);
  } catch (error) {
    for (const tensor of loaded.values()) tensor.dispose();
    throw error;
  }
}

/** Loads one tensor; see {@link loadTensors}. The caller disposes it. */
export async function loadTensor(
  files: SafetensorsFiles,
  name: string,
  options: Pick<LoadTensorsOptions, "device" | "dtype">,
): Promise<Tensor> {
  const bytes = await files.read(name);
  return placeTensor({ ...storedOf(files, name), name, bytes }, options);
}

/**
 * Loads one tensor in pieces along its first axis, of at most so many rows each, for devices on which the whole is too large.
 * The pieces come in order; the caller disposes them. All or none.
 */
export async function loadTensorPieces(
  files: SafetensorsFiles,
  name: string,
  { rows, ...options }: Pick<LoadTensorsOptions, "device" | "dtype"> & { readonly rows: number },
): Promise<Tensor[]> {
  const bytes = await files.read(name);
  const stored = storedOf(files, name);
  const [numRows = 0, ...rest] = stored.shape;
  const rowBytes = bytes.byteLength / numRows;
  const pieces: Tensor[] = [];
  try {
    for (let from = 0; from < numRows; from += rows) {
      const to = Math.min(from + rows, numRows);
      const piece = bytes.subarray(from * rowBytes, to * rowBytes);
      const shape = [to - from, ...rest];
      const start = stored.start + from * rowBytes;
      pieces.push(placeTensor({ ...stored, name, shape, start, bytes: piece }, options));
    }
    return pieces;
  } catch (error) {
    for (const piece of pieces) piece.dispose();
    throw error;
  }
}

function storedOf(files: SafetensorsFiles, name: string): StoredTensor {
  const stored = files.tensors.get(name);
  if (stored !== undefined) return stored;
  throw new HeddleError("format", `loadTensor: the tensor must exist; got "${name}".`);
}

/** Puts bytes of a file on a device. */
function placeTensor(
  {
    name,
    file,
    start,
    shape,
    dtype: storedDType,
    bytes,
  }: StoredTensor & { readonly name: string; readonly bytes: Uint8Array },
  { device, dtype = device.defaultFloat }: Pick<LoadTensorsOptions, "device" | "dtype">,
): Tensor {
  if (storedDType === "I64") {
    const narrowed = narrowToI32(bytes, (at) => {
      const got = `element ${at}`;
      return formatError(
        { file, tensor: name, byte: start + at * 8 },
        { rule: "an I64 value must fit in i32", got },
      );
    });
    return fromBytes(device, { shape, dtype: "i32" }, narrowed);
  }
  if (isFloat8(storedDType)) {
    const wide = new Uint8Array(decodeFloat8(storedDType, bytes).buffer);
    return castAndFree(fromBytes(device, { shape, dtype: "f32" }, wide), dtype === "stored" ? "f16" : dtype);
  }
  const own = ownDType(storedDType, name);
  const wanted = dtype === "stored" || !isFloat(own) ? own : dtype;
  // A device without f64 takes such data rounded to f32.
  if (own === "f64" && !device.supports("f64")) {
    const rounded = fromBytes(device, { shape, dtype: "f32" }, roundToF32(bytes));
    return castAndFree(rounded, wanted === "f64" ? "f32" : wanted);
  }
  return castAndFree(fromBytes(device, { shape, dtype: own }, bytes), wanted);
}

function sizeOf(files: SafetensorsFiles, name: string): number {
  const stored = files.tensors.get(name);
  return stored === undefined ? 0 : stored.end - stored.start;
}

function ownDType(stored: StoredDType, name: string) {
  const dtype = dtypeOf(stored);
  if (dtype !== undefined) return dtype;
  const message = `loadTensors: the dtype must be one that devices hold; got ${stored} in tensor "${name}".`;
  throw new HeddleError("dtype", `${message} Convert the checkpoint to F32, BF16 or F16.`, {
    tensor: name,
    dtype: stored,
  });
}

function castAndFree(tensor: Tensor, dtype: Tensor["dtype"]): Tensor {
  if (tensor.dtype === dtype) return tensor;
  try {
    return tensor.cast(dtype);
  } finally {
    tensor.dispose();
  }
}

function narrowToI32(bytes: Uint8Array, tooWide: (element: number) => HeddleError): Uint8Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const out = new DataView(new ArrayBuffer(bytes.byteLength / 2));
  for (let at = 0; at < bytes.byteLength / 8; at++) {
    const value = view.getBigInt64(at * 8, true);
    if (value !== BigInt.asIntN(32, value)) throw tooWide(at);
    out.setInt32(at * 4, Number(value), true);
  }
  return new Uint8Array(out.buffer);
}

function roundToF32(bytes: Uint8Array): Uint8Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const out = new DataView(new ArrayBuffer(bytes.byteLength / 2));
  for (let at = 0; at < bytes.byteLength / 8; at++)
    out.setFloat32(at * 4, view.getFloat64(at * 8, true), true);
  return new Uint8Array(out.buffer);
}
