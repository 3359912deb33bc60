import { type FileSource, readRange } from "../file-source.js";

/** A file of a model, and how long its header is. */
export interface GgufPart {
  readonly file: string;
  readonly dataStart: number;
  /** The header as it was read, where all of it was. */
  readonly header?: Uint8Array;
}

/**
 * Tells files apart without reading their data: size, time of the last change where the source knows it, and a hash of the header, of
 * all parts.
 *
 * @param isAnew  reads the headers again, instead of taking them as they were read when the files were opened
 */
export async function fingerprintOf(
  source: FileSource,
  parts: readonly GgufPart[],
  isAnew: boolean,
): Promise<string> {
  const each = parts.map(async ({ file, dataStart, header }) => {
    const [size, modified = 0] = [await source.size(file), await source.modified?.(file)];
    const hash =
      isAnew || header === undefined ? hashOfFile(source, file, Math.min(dataStart, size)) : hashOf(header);
    const hex = Array.from(await hash, (byte) => byte.toString(16).padStart(2, "0")).join("");
    return `${size} ${modified} ${hex}`;
  });
  return (await Promise.all(each)).join("; ");
}

/** Small enough that the memory of one piece is used again for the next. */
const PIECE_BYTES = 2 ** 20;

/** SHA-256 of the SHA-256s of pieces of a header: of several at once, while JavaScript does other things. */
async function hashOf(header: Uint8Array): Promise<Uint8Array> {
  const hashes: Promise<Uint8Array>[] = [];
  for (let start = 0; start < header.byteLength; start += PIECE_BYTES)
    hashes.push(sha256(header.subarray(start, start + PIECE_BYTES)));
  return joined(await Promise.all(hashes));
}

async function hashOfFile(source: FileSource, file: string, end: number): Promise<Uint8Array> {
  const hashes: Uint8Array[] = [];
  for (let start = 0; start < end; start += PIECE_BYTES) {
    hashes.push(
      await sha256(await readRange(source, { file, start, end: Math.min(start + PIECE_BYTES, end) })),
    );
  }
  return joined(hashes);
}

function joined(hashes: readonly Uint8Array[]): Promise<Uint8Array> {
  const all = new Uint8Array(32 * hashes.length);
  for (const [at, hash] of hashes.entries()) all.set(hash, 32 * at);
  return sha256(all);
}

async function sha256(bytes: Uint8Array): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>));
}
