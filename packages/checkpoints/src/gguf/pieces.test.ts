import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { type FileSink, memorySink } from "../file-sink.js";
import { memorySource } from "../file-source.js";
import { directorySink, directorySource } from "../node/directory.js";
import { openGguf } from "./open-gguf.js";
import { writeGguf } from "./write-gguf.js";

const bytes = Uint8Array.from({ length: 9_000_000 }, (_, i) => i % 251);

async function write(sink: FileSink): Promise<void> {
  const tensors = new Map([["big", { type: "I8", shape: [9000, 1000], bytes } as const]]);
  await writeGguf(sink, "m.gguf", { metadata: new Map(), tensors });
}

test("pieces are whole units and join to the tensor, from memory and from disk", async () => {
  const folder = mkdtempSync(join(tmpdir(), "heddle-pieces-"));
  try {
    const memory = memorySink();
    await write(memory);
    await write(directorySink(folder));
    for (const source of [memorySource(memory.files), directorySource(folder)]) {
      const files = await openGguf(source, "m.gguf");
      const sizes: number[] = [];
      const joined = new Uint8Array(bytes.length);
      let at = 0;
      for await (const { bytes: piece } of files.pieces([{ name: "big", unitBytes: 16_000 }])) {
        joined.set(piece, at);
        at += piece.byteLength;
        sizes.push(piece.byteLength);
      }
      expect(sizes.slice(0, -1).every((size) => size % 16_000 === 0 && size <= 2 ** 22)).toBe(true);
      expect(sizes.length).toBe(3);
      expect(Buffer.compare(joined, bytes)).toBe(0);
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});
