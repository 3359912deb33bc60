import { HeddleError } from "@heddle/tensor";
import { formatError } from "./format-error.js";

/**
 * A folder of files that can be read by byte range: a directory, a set of blobs, a web server, memory.
 *
 * Everything in this package reads through it, so a checkpoint is opened the same way in Node and in a browser.
 */
export interface FileSource {
  /** Names of the files that are known to exist, "/" between folders. */
  list(): readonly string[];
  /** Size in bytes. Rejects with a "format" error where the file does not exist. */
  size(name: string): Promise<number>;
  /** Bytes `start` (inclusive) to `end` (exclusive). May give fewer where the file ends before `end`. */
  read(name: string, start: number, end: number): Promise<Uint8Array>;
  /** When the file was last changed, in milliseconds of the epoch; absent where that is not known. */
  modified?(name: string): Promise<number>;
  /** Opens a file for many reads, where it can; whoever opens it closes it. */
  open?(name: string): Promise<OpenFile>;
}

/** A file that stays open. */
export interface OpenFile {
  /** Fills `target`, which may lie in shared memory, with the bytes from `start` on; gives their number, fewer where the file ends. */
  readInto(start: number, target: Uint8Array): Promise<number>;
  /** The same with memory in several places, which is filled one after the other by few system calls. */
  readIntoAll?(start: number, targets: readonly Uint8Array[]): Promise<number>;
  close(): Promise<void>;
}

/** A source over byte arrays in memory; the arrays are borrowed, not copied. */
export function memorySource(files: Readonly<Record<string, Uint8Array>>): FileSource {
  const byName = new Map(Object.entries(files));
  return {
    list: () => [...byName.keys()],
    size: async (name) => present(byName, name).byteLength,
    read: async (name, start, end) => present(byName, name).slice(start, end),
  };
}

/** A source over blobs, such as the `File`s of a file input; only the ranges asked for are read. */
export function blobSource(files: Readonly<Record<string, Blob>> | readonly File[]): FileSource {
  const named = isFileList(files)
    ? files.map((file): [string, Blob] => [nameOf(file), file])
    : Object.entries(files);
  const byName = new Map<string, Blob>(named);
  return {
    list: () => [...byName.keys()],
    size: async (name) => present(byName, name).size,
    async modified(name) {
      const blob = present(byName, name);
      return "lastModified" in blob ? Number(blob.lastModified) : 0;
    },
    read: async (name, start, end) =>
      new Uint8Array(await present(byName, name).slice(start, end).arrayBuffer()),
  };
}

/** Reads a range and insists on all of it. @throws HeddleError "format" naming the byte where the file ends */
export async function readRange(
  source: FileSource,
  range: { readonly file: string; readonly start: number; readonly end: number; readonly tensor?: string },
): Promise<Uint8Array> {
  const bytes = await source.read(range.file, range.start, range.end);
  if (bytes.byteLength === range.end - range.start) return bytes;
  throw formatError(
    { file: range.file, tensor: range.tensor, byte: range.start + bytes.byteLength },
    { rule: "a file must not end inside its data", got: `bytes wanted up to ${range.end}` },
  );
}

/** Reads a whole file. */
export async function readFile(source: FileSource, name: string): Promise<Uint8Array> {
  return readRange(source, { file: name, start: 0, end: await source.size(name) });
}

/** Reads a whole file as UTF-8 text. */
export async function readText(source: FileSource, name: string): Promise<string> {
  const bytes = await readFile(source, name);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw formatError(
      { file: name },
      { rule: "a text file must be UTF-8", cure: "Save it as UTF-8." },
      cause,
    );
  }
}

/**
 * Reads a JSON file. The bare words Infinity, -Infinity and NaN, which Python writes and JSON does not know, are read as strings.
 *
 * @throws HeddleError "format" naming the file where it is not JSON
 */
export async function readJson(source: FileSource, name: string): Promise<unknown> {
  const text = await readText(source, name);
  try {
    return JSON.parse(text);
  } catch (cause) {
    const quoted = text.replace(/"(?:[^"\\]|\\.)*"|-?\bInfinity\b|\bNaN\b/g, (word) =>
      word.startsWith('"') ? word : `"${word}"`,
    );
    return readQuoted(quoted, name, cause);
  }
}

function readQuoted(text: string, name: string, cause: unknown): unknown {
  try {
    return JSON.parse(text);
  } catch {
    const got = cause instanceof Error ? cause.message : String(cause);
    throw formatError(
      { file: name },
      { rule: "a JSON file must parse", got, cure: "Mend or copy the file." },
      cause,
    );
  }
}

/** The error of a file that a source does not have. */
export function missingFile(name: string, known: readonly string[], cause?: unknown): HeddleError {
  const shown =
    known.length === 0 ? "nothing" : known.slice(0, 12).join(", ") + (known.length > 12 ? ", ..." : "");
  const message = `FileSource: the file must exist; got "${name}", there is ${shown}. Check the folder and the name.`;
  return new HeddleError("format", message, { file: name, known: [...known] }, cause);
}

function present<T>(files: ReadonlyMap<string, T>, name: string): T {
  const file = files.get(name);
  if (file === undefined) throw missingFile(name, [...files.keys()]);
  return file;
}

function isFileList(files: Readonly<Record<string, Blob>> | readonly File[]): files is readonly File[] {
  return Array.isArray(files);
}

/** Name of a picked file; of a picked folder, the path below that folder. */
function nameOf(file: File): string {
  const path = file.webkitRelativePath ?? "";
  return path === "" ? file.name : path.slice(path.indexOf("/") + 1);
}
