import { createReadStream } from "node:fs";
import { open } from "node:fs/promises";
import { HeddleError } from "@heddle/tensor";
import type { Place, TextSource } from "../data/text-source.js";

export interface TextFilesOptions {
  /** Text between two documents, such as "<|endoftext|>" or "\n\n"; default: each file is one document. */
  readonly separator?: string;
}

/**
 * A source over UTF-8 text files, read in pieces. Places are byte ranges.
 *
 * White space around a document is cut off, empty documents are passed over, "\r\n" becomes "\n" and a byte order mark is
 * dropped.
 * @throws HeddleError "format" from `documents` naming a file that cannot be read
 */
export function textFiles(paths: readonly string[], { separator }: TextFilesOptions = {}): TextSource {
  if (separator === "") {
    const message =
      'textFiles: separator must have characters; got "". Leave it out for one document a file.';
    throw new HeddleError("config", message, { separator });
  }
  const markBytes = separator === undefined ? 0 : Buffer.byteLength(separator);
  return {
    async *documents(after) {
      for (let file = after?.file ?? 0; file < paths.length; file++) {
        const from = file === after?.file ? after.end + markBytes : 0;
        for await (const { start, bytes } of pieces(paths[file] ?? "", { from, separator })) {
          const text = decode(bytes);
          if (text !== "") yield { text, place: { file, start, end: start + bytes.byteLength } };
        }
      }
    },
    read: async (place) => decode(await readPlace(paths, place)),
  };
}

interface Piece {
  readonly start: number;
  readonly bytes: Buffer;
}

/** The byte ranges between separators. */
async function* pieces(
  path: string,
  { from, separator }: { readonly from: number; readonly separator: string | undefined },
): AsyncGenerator<Piece> {
  const mark = separator === undefined ? undefined : Buffer.from(separator, "utf8");
  let held: Buffer = Buffer.alloc(0);
  let start = from;
  try {
    for await (const chunk of createReadStream(path, { start: from, highWaterMark: 1 << 18 })) {
      // A separator may begin in the last bytes of what was held.
      let searchFrom = mark === undefined ? 0 : Math.max(0, held.length - mark.length + 1);
      held = Buffer.concat([held, chunk as Buffer]);
      if (mark === undefined) continue;
      for (let at = held.indexOf(mark, searchFrom); at >= 0; at = held.indexOf(mark, searchFrom)) {
        yield { start, bytes: held.subarray(0, at) };
        start += at + mark.length;
        held = held.subarray(at + mark.length);
        searchFrom = 0;
      }
    }
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new HeddleError(
      "format",
      `textFiles: the file must be readable; got "${path}" (${why}). Check the path.`,
      { path },
      cause,
    );
  }
  yield { start, bytes: held };
}

async function readPlace(paths: readonly string[], { file, start, end }: Place): Promise<Buffer> {
  const handle = await open(paths[file] ?? "", "r");
  try {
    const bytes = Buffer.alloc(end - start);
    await handle.read(bytes, 0, bytes.length, start);
    return bytes;
  } finally {
    await handle.close();
  }
}

function decode(bytes: Buffer): string {
  return new TextDecoder("utf-8").decode(bytes).replaceAll("\r\n", "\n").trim();
}
