import { HeddleError } from "@heddle/tensor";
import { type FileSource, missingFile, type OpenFile } from "../file-source.js";
import { type RangePiece, type ReadRangesOptions, readRanges } from "../read-ranges.js";
import { GgufCursor, PrefixTooShort } from "./gguf-cursor.js";
import { ggufError } from "./gguf-error.js";
import { fingerprintOf, type GgufPart } from "./gguf-fingerprint.js";
import { type GgufHeader, type GgufTensor, parseGgufHeader } from "./gguf-header.js";
import { type GgufValue, maxGgufHeaderBytes } from "./gguf-value.js";

/** A GGUF model: metadata and tensor list read and checked, data still where it was. */
export interface GgufFiles {
  /** Fields by name in the order of the file; of a split model, those of its first part. */
  readonly metadata: ReadonlyMap<string, GgufValue>;
  /** Every tensor by name, in the order of the files. */
  readonly tensors: ReadonlyMap<string, GgufTensor>;
  /** The stored bytes of one tensor, for `dequantize`. */
  read(name: string): Promise<Uint8Array>;
  /**
   * A text that tells this model from others and from later versions of its files: their sizes, times of change (where the source
   * knows them) and hashes of their headers. The data is not read.
   * @param options.isAnew  reads the headers again, to see whether they have changed; default: takes them as they were read
   */
  fingerprint(options?: { readonly isAnew?: boolean }): Promise<string>;
  /**
   * The stored bytes of tensors or of parts of them, in the order asked for, piece by piece: whole units of at most some
   * megabytes (longer where one unit is). The next piece is read while the caller works on the one at hand, which is valid
   * until the next is asked for.
   */
  pieces<R extends GgufRange>(ranges: readonly R[], options?: GgufPieceOptions): AsyncIterable<GgufPiece<R>>;
}

/** Bytes of a tensor that are read piece by piece. */
export interface GgufRange {
  readonly name: string;
  /** Bytes from the start of the tensor; default all of it. */
  readonly start?: number;
  readonly end?: number;
  /** A piece is a multiple of these bytes, but for the last of a range. Default: all of it. */
  readonly unitBytes?: number;
  /** Memory of the range's size to read straight into. */
  readonly target?: Uint8Array;
}

export type GgufPieceOptions = Pick<ReadRangesOptions, "windows">;

export interface GgufPiece<R extends GgufRange = GgufRange> extends Omit<RangePiece, "range"> {
  readonly range: R;
}

/** Bytes fetched first; a tokenizer makes a header some megabytes long. */
const firstPrefixBytes = 2 ** 20;

const partName = /^(.*)-(\d{5})-of-(\d{5})\.gguf$/s;

/**
 * Opens a GGUF file (version 2 or 3) by reading its header only. Of a split model
 * (`BASE-00001-of-0000N.gguf`, any part may be named) all parts are opened.
 *
 * @throws HeddleError "format" naming file, field or tensor, and byte, for anything that breaks a rule of the format
 * @see https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
 */
export async function openGguf(source: FileSource, file: string): Promise<GgufFiles> {
  const split = partName.exec(file);
  if (split === null) return openOne(source, file);
  const [, base = "", , of = ""] = split;
  const parts: PartHeader[] = [];
  for (let part = 1; part <= Number(of); part++) {
    const name = `${base}-${String(part).padStart(5, "0")}-of-${of}.gguf`;
    const header = await readGgufHeader(source, name);
    checkPart(header, { file: name, part, parts: Number(of) });
    parts.push(header);
  }
  const [first] = parts;
  if (first === undefined) throw missingFile(file, source.list());
  const tensors = joinTensors(parts, first, file);
  return reader(source, parts, { file, metadata: first.metadata, tensors });
}

type PartHeader = GgufHeader & GgufPart;

/** Reads and checks the header of one file, fetching more of it whenever it turns out to be longer. */
async function readGgufHeader(source: FileSource, file: string): Promise<PartHeader> {
  const fileBytes = await source.size(file);
  const most = Math.min(fileBytes, maxGgufHeaderBytes);
  const opened = await source.open?.(file);
  const growing = opened && new GrowingPrefix(opened, most);
  const longer = (bytes: number) =>
    Math.min(growing ? Math.floor(bytes * 1.5) + firstPrefixBytes : bytes * 8, most);
  try {
    for (let bytes = Math.min(firstPrefixBytes, most); ; bytes = longer(bytes)) {
      const range = { file, start: 0, end: bytes };
      const prefix = growing ? await growing.upTo(range) : await readBytes(source, range);
      try {
        const header = parseGgufHeader(new GgufCursor(prefix, file, fileBytes));
        const end = Math.min(header.dataStart, fileBytes);
        // Lazily read strings keep the bytes alive anyway.
        return { file, ...header, ...(end <= prefix.byteLength ? { header: prefix.subarray(0, end) } : {}) };
      } catch (error) {
        if (!(error instanceof PrefixTooShort)) throw error;
      }
    }
  } finally {
    await opened?.close();
  }
}

/** The first bytes of an open file, of which more and more are read into memory that only costs where it is filled. */
class GrowingPrefix {
  readonly #opened: OpenFile;
  #room: Uint8Array;
  #filled = 0;

  constructor(opened: OpenFile, most: number) {
    this.#opened = opened;
    this.#room = new Uint8Array(Math.min(most, 2 ** 24));
  }

  async upTo({ file, end }: { readonly file: string; readonly end: number }): Promise<Uint8Array> {
    if (end > this.#room.byteLength) {
      const wider = new Uint8Array(2 * end);
      wider.set(this.#room.subarray(0, this.#filled));
      this.#room = wider;
    }
    this.#filled += await this.#opened.readInto(this.#filled, this.#room.subarray(this.#filled, end));
    if (this.#filled < end) throw endsInside({ file, end }, this.#filled);
    return this.#room.subarray(0, end);
  }
}

async function openOne(source: FileSource, file: string): Promise<GgufFiles> {
  const header = await readGgufHeader(source, file);
  const parts = numberIn(header, "split.count");
  if (parts !== undefined && parts > 1) {
    const rule = "a part of a split model must keep its name BASE-0000M-of-0000N.gguf";
    const cure = "Rename the parts as they were.";
    throw ggufError({ file, field: "split.count" }, { rule, got: `${parts} parts`, cure });
  }
  return reader(source, [header], header);
}

function checkPart(
  header: GgufHeader,
  { file, part, parts }: { readonly file: string; readonly part: number; readonly parts: number },
): void {
  const expected = { "split.no": part - 1, "split.count": parts };
  for (const [field, value] of Object.entries(expected)) {
    const found = numberIn(header, field);
    if (found === value) continue;
    const rule = "name and fields of a part must agree";
    throw ggufError({ file, field }, { rule, got: `${found ?? "no number"} where the name says ${value}` });
  }
}

function joinTensors(
  parts: readonly GgufHeader[],
  first: GgufHeader,
  file: string,
): ReadonlyMap<string, GgufTensor> {
  const tensors = new Map<string, GgufTensor>();
  for (const part of parts) {
    for (const [name, tensor] of part.tensors) {
      if (tensors.has(name)) {
        const place = { file: tensor.file, tensor: name, byte: tensor.byteOffset };
        throw ggufError(place, { rule: "a tensor must occur once in all parts" });
      }
      tensors.set(name, tensor);
    }
  }
  const field = "split.tensors.count";
  const expected = numberIn(first, field);
  if (expected !== undefined && expected !== tensors.size) {
    const got = `${tensors.size} tensors where the first part says ${expected}`;
    throw ggufError({ file, field }, { rule: "the parts must hold all tensors", got });
  }
  return tensors;
}

function numberIn({ metadata }: GgufHeader, field: string): number | undefined {
  const found = metadata.get(field);
  return typeof found?.value === "number" ? found.value : undefined;
}

function reader(
  source: FileSource,
  parts: readonly GgufPart[],
  { file, metadata, tensors }: Pick<PartHeader, "file" | "metadata" | "tensors">,
): GgufFiles {
  const find = (name: string): GgufTensor => {
    const tensor = tensors.get(name);
    if (tensor !== undefined) return tensor;
    const message = `gguf: the tensor must exist; got file "${file}", tensor "${name}". Ask for one of \`tensors\`.`;
    throw new HeddleError("format", message, { file, tensor: name });
  };
  return {
    metadata,
    tensors,
    async read(name) {
      const { file: part, byteOffset: start, byteLength } = find(name);
      return readBytes(source, { file: part, start, end: start + byteLength, tensor: name });
    },
    fingerprint: ({ isAnew = false } = {}) => fingerprintOf(source, parts, isAnew),
    async *pieces(ranges, options) {
      const wanted = ranges.map((range) => {
        const { file: part, byteOffset, byteLength } = find(range.name);
        const { start = 0, end = byteLength, unitBytes = Math.max(1, end - start) } = range;
        const place = { file: part, start: byteOffset + start, end: byteOffset + end, unitBytes };
        return { ...place, ...(range.target && { target: range.target }), asked: range };
      });
      for await (const { range, ...piece } of readRanges(source, wanted, {
        ...options,
        endsInside: ({ asked, file, end }, filled) => endsInside({ file, end, tensor: asked.name }, filled),
      })) {
        yield { ...piece, range: range.asked };
      }
    },
  };
}

async function readBytes(
  source: FileSource,
  range: { readonly file: string; readonly start: number; readonly end: number; readonly tensor?: string },
): Promise<Uint8Array> {
  if (range.start === range.end) return new Uint8Array();
  const bytes = await source.read(range.file, range.start, range.end);
  if (bytes.byteLength === range.end - range.start) return bytes;
  throw endsInside(range, range.start + bytes.byteLength);
}

function endsInside(
  range: { readonly file: string; readonly end: number; readonly tensor?: string },
  byte: number,
): HeddleError {
  const place = { file: range.file, tensor: range.tensor, byte };
  const got = `bytes wanted up to ${range.end}`;
  return ggufError(place, { rule: "a file must not end inside its data", got });
}
