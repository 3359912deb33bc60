import { byteWidth, HeddleError, type Tensor } from "@heddle/tensor";
import { type FileSink, writeText } from "./file-sink.js";
import { layoutRank, storedDTypeOf } from "./stored-dtype.js";

export interface SaveTensorsOptions {
  /** File name without ending. Default "model". */
  readonly base?: string;
  /** Text by name for the header. Default `{ format: "pt" }`, which Hugging Face's reader expects. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** Most data bytes of one file; more go to shards with an index. Default: one file. */
  readonly maxShardBytes?: number;
}

/**
 * Writes tensors as `BASE.safetensors`, or as shards `BASE-00001-of-0000N.safetensors` with an index.
 *
 * The bytes depend on names, values and metadata only: wide dtypes first, then by name; the data begins at a multiple of 8.
 * Borrows the tensors. One tensor at a time is read back from the device.
 * @returns the names of the files written, the index last
 * @throws HeddleError "config" for a tensor name that the format keeps for itself, or maxShardBytes below 1
 */
export async function saveTensors(
  sink: FileSink,
  tensors: Readonly<Record<string, Tensor>>,
  options: SaveTensorsOptions = {},
): Promise<readonly string[]> {
  const { base = "model", metadata = { format: "pt" }, maxShardBytes = Number.POSITIVE_INFINITY } = options;
  const shards = divide(layoutOrder(tensors), maxShardBytes);
  const only = shards[0] ?? [];
  if (shards.length <= 1) {
    const file = `${base}.safetensors`;
    await sink.write(file, fileChunks(only, metadata));
    return [file];
  }
  const files: string[] = [];
  for (const [at, shard] of shards.entries()) {
    const file = `${base}-${digits(at + 1)}-of-${digits(shards.length)}.safetensors`;
    await sink.write(file, fileChunks(shard, metadata));
    files.push(file);
  }
  const index = `${base}.safetensors.index.json`;
  await writeText(sink, index, indexJson(shards, files));
  return [...files, index];
}

type Named = readonly [name: string, tensor: Tensor];

/** The order of the data: wide dtypes first so that each tensor is aligned, then by name. */
function layoutOrder(tensors: Readonly<Record<string, Tensor>>): Named[] {
  const rank = ([, tensor]: Named) => layoutRank(storedDTypeOf(tensor.dtype));
  return Object.entries(tensors).sort((a, b) => rank(b) - rank(a) || (a[0] < b[0] ? -1 : 1));
}

function divide(tensors: readonly Named[], maxBytes: number): Named[][] {
  if (!(maxBytes >= 1)) {
    const message = `saveTensors: maxShardBytes must be at least 1; got ${maxBytes}. Leave it out for one file.`;
    throw new HeddleError("config", message, { maxShardBytes: maxBytes });
  }
  const shards: Named[][] = [];
  let room = 0;
  for (const named of tensors) {
    const bytes = sizeBytes(named[1]);
    if (shards.length === 0 || bytes > room) {
      shards.push([]);
      room = maxBytes;
    }
    shards.at(-1)?.push(named);
    room -= bytes;
  }
  return shards;
}

/** The bytes of one file: length, header padded to a multiple of 8, then each tensor. */
async function* fileChunks(
  tensors: readonly Named[],
  metadata: Readonly<Record<string, string>>,
): AsyncGenerator<Uint8Array> {
  yield headerBytes(tensors, metadata);
  for (const [, tensor] of tensors) yield await tensor.bytes();
}

function headerBytes(tensors: readonly Named[], metadata: Readonly<Record<string, string>>): Uint8Array {
  const entries: [string, unknown][] = Object.keys(metadata).length === 0 ? [] : [["__metadata__", metadata]];
  let start = 0;
  for (const [name, tensor] of tensors) {
    if (name === "__metadata__") {
      const message = `saveTensors: a tensor must not be named "__metadata__"; got one. Rename it.`;
      throw new HeddleError("config", message, { tensor: name });
    }
    const end = start + sizeBytes(tensor);
    entries.push([
      name,
      { dtype: storedDTypeOf(tensor.dtype), shape: tensor.shape, data_offsets: [start, end] },
    ]);
    start = end;
  }
  // Written by hand rather than from an object, whose keys that look like numbers would move to the front.
  const json = `{${entries.map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`).join(",")}}`;
  const text = new TextEncoder().encode(json);
  const length = Math.ceil(text.byteLength / 8) * 8;
  const bytes = new Uint8Array(8 + length).fill(0x20, 8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(length), true);
  bytes.set(text, 8);
  return bytes;
}

function indexJson(shards: readonly (readonly Named[])[], files: readonly string[]): string {
  const all = shards.flat();
  const placed = shards.flatMap((shard, at) =>
    shard.map(([name]): [string, string] => [name, files[at] ?? ""]),
  );
  const weightMap = Object.fromEntries(placed.sort(([a], [b]) => (a < b ? -1 : 1)));
  const totalBytes = all.reduce((sum, [, tensor]) => sum + sizeBytes(tensor), 0);
  return `${JSON.stringify({ metadata: { total_size: totalBytes }, weight_map: weightMap }, null, 2)}\n`;
}

function sizeBytes(tensor: Tensor): number {
  return tensor.size * byteWidth(tensor.dtype);
}

function digits(count: number): string {
  return String(count).padStart(5, "0");
}
