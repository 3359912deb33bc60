import type { FileSource, OpenFile } from "@heddle/checkpoints";
import { type Device, fromBytes, HeddleError, type Tensor, type TensorType } from "@heddle/tensor";
import { bytesOf, viewedTensor } from "./viewed-tensor.js";

/** Tensors whose bytes follow each other in a file. */
export interface TensorRun {
  readonly file: string;
  /** Byte at which the first begins. */
  readonly start: number;
  readonly types: readonly TensorType[];
}

export interface ReadTensorsOptions {
  readonly device: Device;
  readonly onProgress?: (progress: { readonly loadedBytes: number; readonly totalBytes: number }) => void;
  readonly signal?: AbortSignal;
}

/** Bytes of one read: few system calls, and both readers get an equal share of a small model. */
const READ_BYTES = 2 ** 23;
/** Reads under way at a time: what costs is the system's copying and its making of fresh pages, which two threads share. */
const READERS = 2;

/**
 * Reads tensors that follow each other in a file, all or none: where the source opens files and the device's memory can be written,
 * straight into it, by several reads at a time.
 *
 * @returns tensors of the types in order; the caller disposes them
 * @throws HeddleError "format" where the file ends too soon
 */
export async function readTensors(
  source: FileSource,
  run: TensorRun,
  options: ReadTensorsOptions,
): Promise<readonly Tensor[]> {
  const tensors: Tensor[] = [];
  try {
    const targets = source.open && allocate(options.device, run.types, tensors);
    if (source.open === undefined || targets === undefined)
      await readEach(source, run, { ...options, tensors });
    else await fill(await source.open(run.file), run, { ...options, targets });
    return tensors;
  } catch (error) {
    for (const tensor of tensors) tensor.dispose();
    throw error;
  }
}

/** Adds a tensor of each type; gives their memory, or undefined and no tensor where it cannot be written from here. */
function allocate(device: Device, types: readonly TensorType[], into: Tensor[]): Uint8Array[] | undefined {
  const targets: Uint8Array[] = [];
  for (const type of types) {
    const made = viewedTensor(device, type);
    if (made === undefined) {
      for (const tensor of into.splice(0)) tensor.dispose();
      return undefined;
    }
    into.push(made.tensor);
    targets.push(made.bytes);
  }
  return targets;
}

async function readEach(
  source: FileSource,
  { file, start, types }: TensorRun,
  { device, onProgress, signal, tensors }: ReadTensorsOptions & { readonly tensors: Tensor[] },
): Promise<void> {
  const totalBytes = types.reduce((sum, type) => sum + bytesOf(type), 0);
  let loadedBytes = 0;
  for (const type of types) {
    signal?.throwIfAborted();
    const from = start + loadedBytes;
    const bytes = await source.read(file, from, from + bytesOf(type));
    if (bytes.byteLength !== bytesOf(type)) throw endsInside(file, from + bytes.byteLength);
    tensors.push(fromBytes(device, type, bytes));
    loadedBytes += bytes.byteLength;
    onProgress?.({ loadedBytes, totalBytes });
  }
}

/** Fills memory piece after piece from a file, which it closes. Nothing is written any more when it has ended. */
async function fill(
  opened: OpenFile,
  { file, start }: TensorRun,
  { targets, onProgress, signal }: ReadTensorsOptions & { readonly targets: readonly Uint8Array[] },
): Promise<void> {
  const reads = cut(targets, start);
  const totalBytes = targets.reduce((sum, { byteLength }) => sum + byteLength, 0);
  let loadedBytes = 0;
  let next = 0;
  const reader = async () => {
    for (let read = reads[next++]; read !== undefined; read = reads[next++]) {
      signal?.throwIfAborted();
      const filled = await readInto(opened, read);
      if (filled !== read.byteLength) throw endsInside(file, read.start + filled);
      loadedBytes += filled;
      onProgress?.({ loadedBytes, totalBytes });
    }
  };
  const ends = await Promise.allSettled(
    Array.from({ length: READERS }, () =>
      reader().catch((error: unknown) => {
        next = reads.length;
        throw error;
      }),
    ),
  );
  await opened.close();
  for (const end of ends) if (end.status === "rejected") throw end.reason;
}

interface Read {
  readonly start: number;
  readonly byteLength: number;
  readonly targets: readonly Uint8Array[];
}

/** Cuts memory that is to be filled from one stretch of a file into reads of about one size. */
function cut(targets: readonly Uint8Array[], start: number): readonly Read[] {
  const reads: Read[] = [];
  let [at, held, pieces] = [start, 0, [] as Uint8Array[]];
  const flush = () => {
    if (held > 0) reads.push({ start: at, byteLength: held, targets: pieces });
    [at, held, pieces] = [at + held, 0, []];
  };
  for (const target of targets) {
    for (let from = 0; from < target.byteLength; ) {
      const piece = target.subarray(from, from + READ_BYTES - held);
      pieces.push(piece);
      from += piece.byteLength;
      held += piece.byteLength;
      if (held === READ_BYTES) flush();
    }
  }
  flush();
  return reads;
}

async function readInto(opened: OpenFile, { start, targets }: Read): Promise<number> {
  if (opened.readIntoAll !== undefined) return opened.readIntoAll(start, targets);
  let filled = 0;
  for (const target of targets) {
    const part = await opened.readInto(start + filled, target);
    filled += part;
    if (part < target.byteLength) break;
  }
  return filled;
}

function endsInside(file: string, byte: number): HeddleError {
  const message = `readTensors: a file must not end inside its data; got file "${file}", byte ${byte}. Make or copy it again.`;
  return new HeddleError("format", message, { file, byte });
}
