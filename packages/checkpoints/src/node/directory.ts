import { randomUUID } from "node:crypto";
import { readdirSync } from "node:fs";
import { mkdir, open, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { FileSink } from "../file-sink.js";
import { type FileSource, missingFile, type OpenFile } from "../file-source.js";

/** A source over the files that lie directly in a directory. */
export function directorySource(path: string): FileSource {
  const list = () => filesIn(path);
  const statOf = async (name: string) => {
    const found = await stat(join(path, name)).catch(() => undefined);
    if (!found?.isFile()) throw missingFile(join(path, name), list());
    return found;
  };
  return {
    list,
    size: async (name) => (await statOf(name)).size,
    modified: async (name) => (await statOf(name)).mtimeMs,
    async read(name, start, end) {
      const bytes = new Uint8Array(end - start);
      const file = await openFile(join(path, name));
      try {
        return bytes.subarray(0, await file.readInto(start, bytes));
      } finally {
        await file.close();
      }
    },
    open: (name) => openFile(join(path, name)),
  };
}

/**
 * A sink into a directory, which is made if need be. Each file is written under a temporary name, flushed to the disk
 * and renamed, so a file of the given name is always whole.
 */
export function directorySink(path: string): FileSink {
  return {
    write: async (name, chunks) => {
      await mkdir(path, { recursive: true });
      await writeAtomically(join(path, name), chunks);
    },
  };
}

/** Writes a file so that, whenever the process dies, either the old or the new content is there in full. */
export async function writeAtomically(
  file: string,
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): Promise<void> {
  // Two writes of one name at a time, in this process or in two, must not mix.
  const temporary = `${file}.${process.pid}-${randomUUID()}.tmp`;
  try {
    await writeAndFlush(temporary, chunks);
    await rename(temporary, file);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  await flushDirectory(dirname(file));
}

/** Makes the names in a directory durable. Windows cannot open directories and needs no such call. */
export async function flushDirectory(path: string): Promise<void> {
  if (process.platform === "win32") return;
  const handle = await open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function writeAndFlush(
  file: string,
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): Promise<void> {
  const handle = await open(file, "w");
  try {
    for await (const chunk of chunks) await handle.writeFile(chunk);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function openFile(path: string): Promise<OpenFile> {
  const handle = await open(path, "r");
  return {
    async readInto(start, target) {
      let filled = 0;
      while (filled < target.byteLength) {
        // Reads above 2 GiB are refused by the system call.
        const length = Math.min(target.byteLength - filled, 2 ** 30);
        const { bytesRead } = await handle.read(target, filled, length, start + filled);
        if (bytesRead === 0) break;
        filled += bytesRead;
      }
      return filled;
    },
    async readIntoAll(start, targets) {
      let filled = 0;
      for (let rest = targets.filter(({ byteLength }) => byteLength > 0); rest.length > 0; ) {
        const { bytesRead } = await handle.readv(rest.slice(0, MOST_TARGETS), start + filled);
        if (bytesRead === 0) break;
        filled += bytesRead;
        rest = behind(rest, bytesRead);
      }
      return filled;
    },
    close: () => handle.close(),
  };
}

/** Most pieces of memory that one system call fills; Linux takes 1024. */
const MOST_TARGETS = 512;

/** What is left of pieces of memory when the first bytes of them are filled. */
function behind(targets: readonly Uint8Array[], filled: number): Uint8Array[] {
  let rest = filled;
  let first = 0;
  for (let next = targets[0]; next !== undefined && rest >= next.byteLength; next = targets[first]) {
    rest -= next.byteLength;
    first++;
  }
  const [cut, ...others] = targets.slice(first);
  return cut === undefined ? [] : [cut.subarray(rest), ...others];
}

function filesIn(path: string): string[] {
  try {
    return readdirSync(path, { withFileTypes: true })
      .filter((entry) => !entry.isDirectory())
      .map((entry) => entry.name)
      .sort();
  } catch {
    return [];
  }
}
