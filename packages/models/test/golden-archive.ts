import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";

const block = 512;

/** Files of a gzipped tar archive, by their path in it. @see POSIX.1-2001, pax, "ustar interchange format" */
export function readArchive(path: string): ReadonlyMap<string, Uint8Array> {
  const bytes = gunzipSync(readFileSync(path));
  const text = (start: number, length: number) =>
    bytes.toString("latin1", start, start + length).replace(/\0.*$/s, "");
  const files = new Map<string, Uint8Array>();
  for (let at = 0; at + block <= bytes.length && bytes[at] !== 0; ) {
    const size = Number.parseInt(text(at + 124, 12), 8);
    files.set(text(at, 100), new Uint8Array(bytes.subarray(at + block, at + block + size)));
    at += block + Math.ceil(size / block) * block;
  }
  return files;
}
