import { type FileSource, readRange } from "../file-source.js";

/** A file of a model, and how long its header is. */
export interface GgufPart {
  readonly file: string;
  readonly dataStart: number;
}

/**
 * Tells files apart without reading their data: size, time of the last change where the source knows it, and a hash of the header, of
 * all parts.
 */
export async function fingerprintOf(source: FileSource, parts: readonly GgufPart[]): Promise<string> {
  const each = parts.map(async ({ file, dataStart }) => {
    const [size, modified = 0] = [await source.size(file), await source.modified?.(file)];
    const hash = await hashOf(source, file, Math.min(dataStart, size));
    const hex = Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("");
    return `${size} ${modified} ${hex}`;
  });
  return (await Promise.all(each)).join("; ");
}

const HASH_BYTES = 32;
/** Small enough that the memory of one piece is used again for the next. */
const PIECE_BYTES = 2 ** 18;

/** SHA-256 of the first bytes of a file, piece by piece: each together with the hash of those before it. */
async function hashOf(source: FileSource, file: string, end: number): Promise<Uint8Array> {
  const room = new Uint8Array(HASH_BYTES + PIECE_BYTES);
  for (let start = 0; start < end; start += PIECE_BYTES) {
    const bytes = await readRange(source, { file, start, end: Math.min(start + PIECE_BYTES, end) });
    room.set(bytes, HASH_BYTES);
    room.set(
      new Uint8Array(await crypto.subtle.digest("SHA-256", room.subarray(0, HASH_BYTES + bytes.byteLength))),
    );
  }
  return room.slice(0, HASH_BYTES);
}
