import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type FileSource, memorySource } from "@heddle/checkpoints";
import { directorySource } from "@heddle/checkpoints/node";
import { cpu, reference, type TensorType } from "@heddle/tensor";
import fc from "fast-check";
import { afterAll, expect, test } from "vitest";
import { readTensors } from "./read-tensors.js";

const folder = mkdtempSync(join(tmpdir(), "heddle-read-"));
const device = cpu({ threads: 1 });
afterAll(() => {
  rmSync(folder, { recursive: true });
  device.dispose();
});

// Longer than one read.
const content = Uint8Array.from({ length: 20_000_000 }, (_, i) => (i * 7 + (i >> 11)) % 251);
writeFileSync(join(folder, "a"), content);

/** A source whose files fill one piece of memory at a time. */
const plainFiles: FileSource = {
  ...directorySource(folder),
  async open(name) {
    const file = await directorySource(folder).open?.(name);
    if (file === undefined) throw new Error("a directory opens files");
    return { readInto: file.readInto, close: file.close };
  },
};
const sources = { disk: directorySource(folder), plainFiles, memory: memorySource({ a: content }) };

test("tensors hold the bytes of the file one after the other, from every source and on every device", async () => {
  const types = fc.array(fc.integer({ min: 0, max: 3_000_000 }), { minLength: 1, maxLength: 6 });
  await fc.assert(
    fc.asyncProperty(types, fc.nat(1000), async (sizes, start) => {
      const run = {
        file: "a",
        start,
        types: sizes.map((size): TensorType => ({ shape: [size], dtype: "u8" })),
      };
      for (const source of Object.values(sources)) {
        for (const on of [device, reference()]) {
          const progress: number[] = [];
          const onProgress = ({ loadedBytes }: { readonly loadedBytes: number }) =>
            progress.push(loadedBytes);
          const tensors = await readTensors(source, run, { device: on, onProgress });
          expect(tensors.length).toBe(sizes.length);
          let at = start;
          for (const [i, tensor] of tensors.entries()) {
            const end = at + (sizes[i] ?? 0);
            expect(Buffer.compare(await tensor.bytes(), content.subarray(at, end))).toBe(0);
            at = end;
            tensor.dispose();
          }
          expect(progress.at(-1) ?? 0).toBe(at - start);
          expect(on.memory().buffers).toBe(0);
        }
      }
    }),
    { numRuns: 8 },
  );
});

const tooLong = {
  file: "a",
  start: 100,
  types: [
    { shape: [9_000_000], dtype: "u8" },
    { shape: [11_000_000], dtype: "u8" },
  ],
} as const;

test("a file that ends inside them is refused with the byte, and nothing stays", async () => {
  for (const source of Object.values(sources)) {
    await expect(readTensors(source, tooLong, { device })).rejects.toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: readTensors: a file must not end inside its data; got file "a", byte 20000000. Make or copy it again.]`,
    );
    expect(device.memory().buffers).toBe(0);
  }
});

test("reading can be given up between two reads", async () => {
  for (const source of Object.values(sources)) {
    const stop = new AbortController();
    const reading = readTensors(source, tooLong, {
      device,
      signal: stop.signal,
      onProgress: () => stop.abort(new Error("enough")),
    });
    await expect(reading).rejects.toThrow("enough");
    expect(device.memory().buffers).toBe(0);
  }
});
