/** Where files are written: a directory (`directorySink` of the node door) or memory. */
export interface FileSink {
  /** Writes a whole file, replacing one of that name; the chunks are written as they come. */
  write(name: string, chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): Promise<void>;
}

/** A sink that keeps its files in memory, for `memorySource`, downloads and tests. */
export function memorySink(): FileSink & { readonly files: Record<string, Uint8Array> } {
  const files: Record<string, Uint8Array> = {};
  return {
    files,
    write: async (name, chunks) => {
      const parts: Uint8Array[] = [];
      for await (const chunk of chunks) parts.push(chunk);
      files[name] = join(parts);
    },
  };
}

/** Writes a text file as UTF-8. */
export async function writeText(sink: FileSink, name: string, text: string): Promise<void> {
  await sink.write(name, [new TextEncoder().encode(text)]);
}

function join(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.byteLength, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.byteLength;
  }
  return whole;
}
