import { formatError } from "./format-error.js";
import { findRepeatedKey } from "./header-keys.js";
import { isStoredDType, type StoredDType, storedDTypes, storedWidth } from "./stored-dtype.js";

/** One tensor of a file. Bytes count from the start of the file. */
export interface StoredTensor {
  readonly file: string;
  readonly dtype: StoredDType;
  readonly shape: readonly number[];
  readonly start: number;
  readonly end: number;
}

export interface SafetensorsHeader {
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  readonly metadata: Readonly<Record<string, string>>;
}

/** Most bytes of a header, as the format's own reader has it: a foreign file must not make us allocate more. */
export const maxHeaderBytes = 100_000_000;

const metadataKey = "__metadata__";

/**
 * Reads and checks a safetensors header: every rule of the format holds afterwards.
 *
 * The data must be covered by the tensors completely, without overlap and without holes.
 * @param json  the header bytes, which begin at byte 8 of the file
 * @throws HeddleError "format" naming file, tensor and byte
 * @see https://github.com/huggingface/safetensors, section "Format"
 */
export function parseHeader(
  json: Uint8Array,
  where: { readonly file: string; readonly fileBytes: number },
): SafetensorsHeader {
  const { file } = where;
  const root = parseJson(json, file);
  const dataStart = 8 + json.byteLength;
  const tensors = new Map<string, StoredTensor>();
  for (const [name, value] of Object.entries(root)) {
    if (name === metadataKey) continue;
    tensors.set(name, parseEntry(value, { file, name, dataStart, fileBytes: where.fileBytes }));
  }
  checkCoverage(tensors, { file, dataStart, fileBytes: where.fileBytes });
  return { tensors, metadata: parseMetadata(root[metadataKey], file) };
}

function parseJson(json: Uint8Array, file: string): Record<string, unknown> {
  const place = { file, byte: 8 };
  if (json[0] !== 0x7b) {
    throw formatError(place, {
      rule: "the header must begin with {",
      got: `first byte ${json[0] ?? "none"}`,
    });
  }
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(json));
  } catch (cause) {
    const got = cause instanceof Error ? cause.message.slice(0, 120) : undefined;
    throw formatError(place, { rule: "the header must be JSON in UTF-8", got }, cause);
  }
  const repeated = findRepeatedKey(json);
  if (repeated !== undefined) {
    const place = { file, tensor: repeated.key, byte: 8 + repeated.byte };
    throw formatError(place, { rule: "a key must occur once in the header" });
  }
  return value as Record<string, unknown>; // begins with "{" and parses: an object
}

interface EntryPlace {
  readonly file: string;
  readonly name: string;
  readonly dataStart: number;
  readonly fileBytes: number;
}

function parseEntry(value: unknown, { file, name, dataStart, fileBytes }: EntryPlace): StoredTensor {
  const place = { file, tensor: name, byte: 8 };
  if (!isRecord(value)) throw formatError(place, { rule: "a tensor must be described by an object" });
  const { dtype, shape, data_offsets: offsets } = value;
  if (!isStoredDType(dtype)) {
    const got = `dtype ${JSON.stringify(dtype)?.slice(0, 40)}`;
    throw formatError(place, { rule: `the dtype must be one of ${storedDTypes.join(" ")}`, got });
  }
  if (!isCounts(shape)) {
    throw formatError(place, {
      rule: "the shape must be a list of whole numbers >= 0",
      got: shown("shape", shape),
    });
  }
  if (!isCounts(offsets) || offsets.length !== 2) {
    const got = shown("data_offsets", offsets);
    throw formatError(place, { rule: "data_offsets must be two whole numbers >= 0", got });
  }
  const start = dataStart + (offsets[0] ?? 0);
  const end = dataStart + (offsets[1] ?? 0);
  const bytes = shape.reduce((product, size) => product * size, 1) * storedWidth(dtype);
  if (end - start !== bytes) {
    const got = `${shown("shape", shape)}, dtype ${dtype}, data_offsets [${offsets}]`;
    throw formatError({ ...place, byte: start }, { rule: "a tensor must take shape x element bytes", got });
  }
  if (end > fileBytes) {
    const got = `tensor bytes ${start} to ${end}, file of ${fileBytes} bytes`;
    throw formatError({ ...place, byte: fileBytes }, { rule: "a tensor must lie inside its file", got });
  }
  return { file, dtype, shape, start, end };
}

/** Checks that the tensors follow each other from the first data byte to the last of the file. */
function checkCoverage(
  tensors: ReadonlyMap<string, StoredTensor>,
  { file, dataStart, fileBytes }: Omit<EntryPlace, "name">,
): void {
  const inOrder = [...tensors].sort(([, a], [, b]) => a.start - b.start || a.end - b.end);
  let covered = dataStart;
  for (const [tensor, { start, end }] of inOrder) {
    if (start < covered) {
      throw formatError(
        { file, tensor, byte: start },
        { rule: "tensors must not overlap", got: `taken up to ${covered}` },
      );
    }
    if (start > covered) {
      throw formatError(
        { file, tensor, byte: covered },
        { rule: "no bytes may lie between tensors", got: `next at ${start}` },
      );
    }
    covered = end;
  }
  if (covered !== fileBytes) {
    const got = `file of ${fileBytes} bytes`;
    throw formatError({ file, byte: covered }, { rule: "no bytes may follow the last tensor", got });
  }
}

function parseMetadata(value: unknown, file: string): Readonly<Record<string, string>> {
  if (value === undefined) return {};
  if (!isRecord(value) || Object.values(value).some((text) => typeof text !== "string")) {
    throw formatError({ file, byte: 8 }, { rule: "__metadata__ must map names to strings" });
  }
  return value as Record<string, string>;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isCounts(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && size >= 0);
}

function shown(name: string, value: unknown): string {
  return `${name} ${(JSON.stringify(value) ?? "missing").slice(0, 60)}`;
}
