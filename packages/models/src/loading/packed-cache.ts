import type { FileSink, FileSource } from "@heddle/checkpoints";
import { PANEL_LAYOUT_VERSION } from "@heddle/quant";
import { type Device, HeddleError, type Tensor, type TensorType } from "@heddle/tensor";
import { readTensors } from "./read-tensors.js";
import { bytesOf } from "./viewed-tensor.js";

/** A file that keeps the packed weights of one model between loads, and who is told of it. */
export interface PackedCache {
  /** Where the file is read; `sink` writes to the same place, whole files only. */
  readonly source: FileSource;
  readonly sink: FileSink;
  /** Name of the file. */
  readonly name: string;
  /** Called once a load. */
  readonly onState?: (state: PackedCacheState) => void;
}

/**
 * What became of a packed cache: it was read; it was written, because there was none, it belonged to something else (another version
 * of the file or of Heddle, other options), or it was damaged; nothing in the model is packed, so none is kept; or it could not be
 * written. The model is loaded in any case.
 */
export type PackedCacheState =
  | { readonly kind: "read" }
  | { readonly kind: "written"; readonly because: PackedMiss }
  | { readonly kind: "unneeded" }
  | { readonly kind: "failed"; readonly error: unknown };

export type PackedMiss = "missing" | "other" | "damaged";

/** One weight of the tree: its path and the tensors that hold it. */
export interface PackedEntry {
  readonly path: string;
  readonly types: readonly TensorType[];
}

const MAGIC = "HEDDLPAK";
/** Of the file around the tensors; how these lie inside has a version of its own. */
const FILE_VERSION = 1;
const KEY_BYTES = 32;
/** Magic, version, four spare bytes, size of the file, key. */
const HEAD_BYTES = 24 + KEY_BYTES;

/**
 * The first bytes of the packed file of these weights, made of this source file. They end in SHA-256 of all that the file depends on, so
 * that a file of another model, of other options, or of a Heddle that packs otherwise begins otherwise.
 *
 * File: head; the bytes of all tensors in order, without gaps; the key once more, which was written last.
 */
export async function packedHead(fingerprint: string, entries: readonly PackedEntry[]): Promise<Uint8Array> {
  const content = [FILE_VERSION, PANEL_LAYOUT_VERSION, fingerprint, entries];
  const text = new TextEncoder().encode(JSON.stringify(content));
  const key = new Uint8Array(await crypto.subtle.digest("SHA-256", text));
  const head = new Uint8Array(HEAD_BYTES);
  new TextEncoder().encodeInto(MAGIC, head);
  const view = new DataView(head.buffer);
  view.setUint32(8, FILE_VERSION, true);
  view.setBigUint64(16, BigInt(HEAD_BYTES + dataBytes(entries) + KEY_BYTES), true);
  head.set(key, HEAD_BYTES - KEY_BYTES);
  return head;
}

function dataBytes(entries: readonly PackedEntry[]): number {
  return entries.flatMap(({ types }) => types).reduce((sum, type) => sum + bytesOf(type), 0);
}

export interface ReadPackedOptions {
  readonly device: Device;
  readonly onProgress?: (progress: { readonly loadedBytes: number; readonly totalBytes: number }) => void;
  readonly signal?: AbortSignal;
}

/**
 * Reads the weights from the packed file, straight into the device's memory where that can be written.
 *
 * @returns the tensors of all entries in order, which the caller disposes; or why there are none
 */
export async function readPacked(
  { source, name }: PackedCache,
  { head, entries }: { readonly head: Uint8Array; readonly entries: readonly PackedEntry[] },
  options: ReadPackedOptions,
): Promise<readonly Tensor[] | PackedMiss> {
  if (!source.list().includes(name)) return "missing";
  try {
    const dataEnd = HEAD_BYTES + dataBytes(entries);
    if (!areEqual(await source.read(name, 0, HEAD_BYTES), head)) return "other";
    if ((await source.size(name)) !== dataEnd + KEY_BYTES) return "damaged";
    const last = await source.read(name, dataEnd, dataEnd + KEY_BYTES);
    if (!areEqual(last, head.subarray(-KEY_BYTES))) return "damaged";
    const types = entries.flatMap((entry) => entry.types);
    return await readTensors(source, { file: name, start: HEAD_BYTES, types }, options);
  } catch (error) {
    options.signal?.throwIfAborted();
    // Whatever is wrong with the file (gone, cut off, unreadable), it is only a copy. The device is not to blame for it.
    if (HeddleError.is(error) && error.code !== "format") throw error;
    return "damaged";
  }
}

function areEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.byteLength === b.byteLength && a.every((byte, i) => byte === b[i]);
}

/** Writes the packed file, in place of the one that is there. */
export async function writePacked(
  { sink, name }: PackedCache,
  head: Uint8Array,
  tensors: readonly Tensor[],
): Promise<void> {
  async function* chunks() {
    yield head;
    for (const tensor of tensors) yield await tensor.bytes();
    yield head.subarray(-KEY_BYTES);
  }
  await sink.write(name, chunks());
}
