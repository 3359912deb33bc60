import { type GgmlType, ggmlTypeInfo, ggmlTypeOf } from "./ggml-type.js";
import type { GgufCursor, LazyStrings } from "./gguf-cursor.js";
import {
  alignmentField,
  alignUp,
  defaultAlignment,
  type GgufArray,
  type GgufNumberType,
  type GgufScalarType,
  type GgufValue,
  isAlignment,
  leastBytes,
  maxArrayDepth,
  valueTypeOf,
} from "./gguf-value.js";

/** One tensor of a GGUF file. Bytes count from the start of the file; the shape is row-major (ggml's `ne` reversed). */
export interface GgufTensor {
  readonly file: string;
  readonly type: GgmlType;
  readonly shape: readonly number[];
  readonly byteOffset: number;
  readonly byteLength: number;
}

export interface GgufHeader {
  readonly version: number;
  readonly metadata: ReadonlyMap<string, GgufValue>;
  readonly tensors: ReadonlyMap<string, GgufTensor>;
  /** Byte at which the data begins. */
  readonly dataStart: number;
}

const magic = 0x46554747; // "GGUF"
const maxAxes = 4;

/**
 * Reads and checks the header of a GGUF file, version 2 or 3, little-endian: every rule of the format holds afterwards.
 *
 * @throws HeddleError "format" naming file, field or tensor, and byte
 * @see https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
 */
export function parseGgufHeader(cursor: GgufCursor): GgufHeader {
  const version = readVersion(cursor);
  const numTensors = cursor.count("the tensors", 24);
  const numFields = cursor.count("the metadata", 13);
  const metadata = new Map<string, GgufValue>();
  for (let i = 0; i < numFields; i++) readField(cursor, metadata);
  const alignment = alignmentOf(cursor, metadata);
  const listed = new Map<string, ListedTensor>();
  for (let i = 0; i < numTensors; i++) readTensor(cursor, listed, alignment);
  cursor.label = {};
  const dataStart = alignUp(cursor.at, alignment);
  return { version, metadata, tensors: placeTensors(cursor, listed, dataStart), dataStart };
}

function readVersion(cursor: GgufCursor): number {
  cursor.label = { field: "magic" };
  const found = cursor.number("u32");
  if (found !== magic) {
    throw cursor.error({ rule: "a file must begin with GGUF", got: `0x${found.toString(16)}` }, 0);
  }
  cursor.label = { field: "version" };
  const version = cursor.number("u32");
  if (version !== 2 && version !== 3) {
    const got = version > 0 && version % 2 ** 16 === 0 ? "a big-endian file" : `version ${version}`;
    const cure = "Convert the file with llama.cpp's tools.";
    throw cursor.error({ rule: "the version must be 2 or 3, little-endian", got, cure }, 4);
  }
  cursor.label = { field: "counts" };
  return version;
}

function readField(cursor: GgufCursor, metadata: Map<string, GgufValue>): void {
  cursor.label = { field: "(name)" };
  const start = cursor.at;
  const name = cursor.string();
  cursor.label = { field: name };
  if (metadata.has(name)) throw cursor.error({ rule: "a field must occur once" }, start);
  metadata.set(name, readValue(cursor));
}

function readValue(cursor: GgufCursor): GgufValue {
  const type = readValueType(cursor);
  if (type === "array") return readArray(cursor, 1);
  switch (type) {
    case "u64":
    case "i64":
      return { type, value: cursor.bigint(type) };
    case "bool":
      return { type, value: cursor.bool() };
    case "string":
      return { type, value: cursor.string() };
    default:
      return { type, value: cursor.number(type) };
  }
}

function readArray(cursor: GgufCursor, depth: number): GgufArray {
  if (depth > maxArrayDepth) {
    throw cursor.error({ rule: `arrays must be nested at most ${maxArrayDepth} deep` });
  }
  const itemType = readValueType(cursor);
  const length = cursor.count("an array", leastBytes(itemType));
  switch (itemType) {
    case "array":
      return { type: "array", itemType, value: items(length, () => readArray(cursor, depth + 1)) };
    case "u64":
    case "i64":
      return { type: "array", itemType, value: items(length, () => cursor.bigint(itemType)) };
    case "bool":
      return { type: "array", itemType, value: items(length, () => cursor.bool()) };
    case "string":
      return stringArray(cursor.strings(length));
    default:
      return numberArray(itemType, cursor.numbers(itemType, length));
  }
}

/** An array whose items are made when they are first asked for: few users of a model need its vocabulary at once. */
function stringArray({ all, item }: LazyStrings): GgufArray {
  const items = once(all);
  const array: GgufArray = {
    type: "array",
    itemType: "string",
    get value() {
      return items();
    },
  };
  // Hidden from whoever lists or compares the data.
  return Object.defineProperty(array, "item", { value: item });
}

/** An array whose items lie as in the file until they are asked for as an array of JavaScript's. */
function numberArray(itemType: GgufNumberType, numbers: ArrayLike<number>): GgufArray {
  const items = once(() => Array.from(numbers));
  const array: GgufArray = {
    type: "array",
    itemType,
    get value() {
      return items();
    },
  };
  return Object.defineProperty(array, "numbers", { value: numbers });
}

function once<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}

/** Grows item by item: nothing is allocated ahead of what is really there. */
function items<T>(length: number, read: () => T): T[] {
  const out: T[] = [];
  for (let i = 0; i < length; i++) out.push(read());
  return out;
}

function readValueType(cursor: GgufCursor): GgufScalarType | "array" {
  const start = cursor.at;
  const id = cursor.number("u32");
  const type = valueTypeOf(id);
  if (type === undefined)
    throw cursor.error({ rule: "a value type must be 0 to 12", got: `type ${id}` }, start);
  return type;
}

function alignmentOf(cursor: GgufCursor, metadata: ReadonlyMap<string, GgufValue>): number {
  const found = metadata.get(alignmentField);
  if (found === undefined) return defaultAlignment;
  if (found.type === "u32" && isAlignment(found.value)) return found.value;
  cursor.label = { field: alignmentField };
  const got = `${found.type} ${String(found.value).slice(0, 40)}`;
  throw cursor.error({ rule: "the alignment must be a u32 power of two", got });
}

/** A tensor whose offset still counts from the start of the data. */
interface ListedTensor extends Omit<GgufTensor, "file" | "byteOffset"> {
  readonly offset: number;
  readonly listedAt: number;
}

function readTensor(cursor: GgufCursor, listed: Map<string, ListedTensor>, alignment: number): void {
  cursor.label = { tensor: "(name)" };
  const listedAt = cursor.at;
  const name = cursor.string();
  cursor.label = { tensor: name };
  if (listed.has(name)) throw cursor.error({ rule: "a tensor must occur once" }, listedAt);
  const shape = readShape(cursor);
  const typeAt = cursor.at;
  const id = cursor.number("u32");
  const type = ggmlTypeOf(id);
  if (type === undefined)
    throw cursor.error({ rule: "the tensor type must be known", got: `type ${id}` }, typeAt);
  const byteLength = sizeBytes(type, shape);
  if (byteLength === undefined) {
    const rule = `rows of ${type} must be whole blocks of ${ggmlTypeInfo(type).blockSize}, the whole below 2^53 bytes`;
    throw cursor.error({ rule, got: `shape [${shape}]` }, typeAt);
  }
  const offsetAt = cursor.at;
  const offset = cursor.bigint("u64");
  if (offset % BigInt(alignment) !== 0n || offset > BigInt(cursor.fileBytes)) {
    const rule = `a tensor must begin at a multiple of ${alignment} inside its file`;
    throw cursor.error({ rule, got: `offset ${offset}` }, offsetAt);
  }
  listed.set(name, { type, shape, byteLength, offset: Number(offset), listedAt });
}

/** Reads `ne`, fastest axis first, and gives the row-major shape. */
function readShape(cursor: GgufCursor): number[] {
  const start = cursor.at;
  const axes = cursor.number("u32");
  if (axes > maxAxes) {
    throw cursor.error({ rule: `a tensor must have at most ${maxAxes} axes`, got: `${axes} axes` }, start);
  }
  const sizes = items(axes, () => {
    const at = cursor.at;
    const size = cursor.bigint("u64");
    if (size <= BigInt(Number.MAX_SAFE_INTEGER)) return Number(size);
    throw cursor.error({ rule: "an axis must be below 2^53", got: `size ${size}` }, at);
  });
  return sizes.reverse();
}

/** Bytes of a tensor, or undefined where its rows are no whole blocks or the number is not exact. */
export function sizeBytes(type: GgmlType, shape: readonly number[]): number | undefined {
  const { blockSize, blockBytes } = ggmlTypeInfo(type);
  if ((shape.at(-1) ?? 1) % blockSize !== 0) return undefined;
  const bytes = (shape.reduce((product, size) => product * size, 1) / blockSize) * blockBytes;
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

/** Turns offsets in the data into offsets in the file; checks that tensors lie inside it and do not overlap. */
function placeTensors(
  cursor: GgufCursor,
  listed: ReadonlyMap<string, ListedTensor>,
  dataStart: number,
): ReadonlyMap<string, GgufTensor> {
  const tensors = new Map<string, GgufTensor>();
  for (const [name, { type, shape, byteLength, offset }] of listed) {
    const byteOffset = dataStart + offset;
    if (byteOffset + byteLength > cursor.fileBytes && byteLength > 0) {
      cursor.label = { tensor: name };
      const got = `tensor bytes ${byteOffset} to ${byteOffset + byteLength}, file of ${cursor.fileBytes} bytes`;
      throw cursor.error({ rule: "a tensor must lie inside its file", got }, cursor.fileBytes);
    }
    tensors.set(name, { file: cursor.file, type, shape, byteOffset, byteLength });
  }
  let taken = dataStart;
  for (const [name, { byteOffset, byteLength }] of [...tensors].sort(
    ([, a], [, b]) => a.byteOffset - b.byteOffset || a.byteLength - b.byteLength,
  )) {
    if (byteLength === 0) continue;
    if (byteOffset < taken) {
      cursor.label = { tensor: name };
      throw cursor.error({ rule: "tensors must not overlap", got: `taken up to ${taken}` }, byteOffset);
    }
    taken = byteOffset + byteLength;
  }
  return tensors;
}
