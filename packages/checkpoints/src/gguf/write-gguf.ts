import { HeddleError } from "@heddle/tensor";
import type { FileSink } from "../file-sink.js";
import { type GgmlType, ggmlTypeInfo } from "./ggml-type.js";
import { ByteWriter } from "./gguf-bytes.js";
import { sizeBytes } from "./gguf-header.js";
import { alignmentField, alignUp, defaultAlignment, type GgufValue, isAlignment } from "./gguf-value.js";

/** A tensor to write: its stored bytes (see `quantize`), or a function that gives them when their turn comes. */
export interface GgufTensorData {
  readonly type: GgmlType;
  /** Row-major, at most four axes, the last a multiple of the type's block. */
  readonly shape: readonly number[];
  readonly bytes: Uint8Array | (() => Promise<Uint8Array>);
}

export interface GgufContent {
  /** Fields by name, written in this order. "general.alignment" (u32, a power of two) is obeyed; default 32. */
  readonly metadata: ReadonlyMap<string, GgufValue>;
  readonly tensors: ReadonlyMap<string, GgufTensorData>;
}

/** Longest tensor name that ggml takes, in bytes of UTF-8. */
const maxNameBytes = 63;

/**
 * Writes a GGUF file of version 3: header, then the tensors in the order of the map, each at a multiple of the alignment.
 *
 * Borrows the bytes. One tensor at a time is asked for.
 * @throws HeddleError "config" for a field or name that the format cannot hold; "shape" for a tensor whose bytes, rows or
 *   axes do not fit its type
 * @see https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
 */
export async function writeGguf(sink: FileSink, file: string, content: GgufContent): Promise<void> {
  const alignment = alignmentOf(content.metadata);
  const header = headerBytes(content, alignment);
  await sink.write(file, chunks(header, content, alignment));
}

function headerBytes({ metadata, tensors }: GgufContent, alignment: number): Uint8Array {
  const writer = new ByteWriter();
  writer.raw(new TextEncoder().encode("GGUF"));
  writer.number("u32", 3);
  writer.count(tensors.size);
  writer.count(metadata.size);
  for (const [name, value] of metadata) writer.field(name, value);
  let offset = 0;
  for (const [name, { type, shape }] of tensors) {
    writer.label = `tensor "${name}"`;
    writer.string(checkName(name));
    writer.number("u32", shape.length);
    for (const size of [...shape].reverse()) writer.count(size);
    writer.number("u32", ggmlTypeInfo(type).id);
    writer.count(offset);
    offset = alignUp(offset + checkedSize(name, type, shape), alignment);
  }
  return writer.bytes();
}

async function* chunks(
  header: Uint8Array,
  { tensors }: GgufContent,
  alignment: number,
): AsyncGenerator<Uint8Array> {
  yield header;
  yield padding(header.byteLength, alignment);
  for (const [name, { type, shape, bytes }] of tensors) {
    const data = typeof bytes === "function" ? await bytes() : bytes;
    const wanted = checkedSize(name, type, shape);
    if (data.byteLength !== wanted) {
      const message = `writeGguf: ${type} of shape [${shape}] takes ${wanted} bytes; got tensor "${name}", ${data.byteLength} bytes.`;
      throw new HeddleError("shape", `${message} Pass what \`quantize\` gives.`, { tensor: name });
    }
    yield data;
    yield padding(data.byteLength, alignment);
  }
}

function padding(bytes: number, alignment: number): Uint8Array {
  return new Uint8Array(alignUp(bytes, alignment) - bytes);
}

function checkedSize(name: string, type: GgmlType, shape: readonly number[]): number {
  const isShape = shape.length <= 4 && shape.every((size) => Number.isSafeInteger(size) && size >= 0);
  const bytes = isShape ? sizeBytes(type, shape) : undefined;
  if (bytes !== undefined) return bytes;
  const rule = `a tensor has at most 4 axes, ${type} rows are multiples of ${ggmlTypeInfo(type).blockSize}`;
  const message = `writeGguf: ${rule}; got tensor "${name}", shape [${shape}]. Reshape it or choose another type.`;
  throw new HeddleError("shape", message, { tensor: name, shape: [...shape], type });
}

function checkName(name: string): string {
  const bytes = new TextEncoder().encode(name).byteLength;
  if (bytes <= maxNameBytes) return name;
  const message = `writeGguf: a tensor name has at most ${maxNameBytes} bytes; got "${name}", ${bytes} bytes. Shorten it.`;
  throw new HeddleError("config", message, { tensor: name });
}

function alignmentOf(metadata: ReadonlyMap<string, GgufValue>): number {
  const found = metadata.get(alignmentField);
  if (found === undefined) return defaultAlignment;
  if (found.type === "u32" && isAlignment(found.value)) return found.value;
  const message = `writeGguf: ${alignmentField} must be a u32 power of two; got ${found.type} ${found.value}. Leave it out for 32.`;
  throw new HeddleError("config", message, { field: alignmentField });
}
