import type { FileSource } from "../src/file-source.js";

/** A source whose reads give at most `limit` bytes of each file, as a copy that was cut short behind our back would. */
export function cutSource(source: FileSource, limit: number): FileSource {
  return {
    ...source,
    read: (name, start, end) => source.read(name, start, Math.max(start, Math.min(end, limit))),
  };
}
