import type { FileSource } from "../file-source.js";
import { readRange } from "../file-source.js";

/** A file of a model, and how long its header is. */
export interface GgufPart {
  readonly file: string;
  readonly dataStart: number;
}

/**
 * Tells files apart without reading their data: size, time of the last change where the source knows it, and SHA-256 of the header,
 * of all parts.
 */
export async function fingerprintOf(source: FileSource, parts: readonly GgufPart[]): Promise<string> {
  const each = parts.map(async ({ file, dataStart }) => {
    const [size, modified = 0] = [await source.size(file), await source.modified?.(file)];
    const header = await readRange(source, { file, start: 0, end: Math.min(dataStart, size) });
    const digest = await crypto.subtle.digest("SHA-256", header as Uint8Array<ArrayBuffer>);
    return `${size} ${modified} ${Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
  });
  return (await Promise.all(each)).join("; ");
}
