import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, expect, test } from "vitest";
import { type FileSource, memorySource } from "./file-source.js";
import { directorySource } from "./node/directory.js";
import { type ByteRange, readRanges } from "./read-ranges.js";

const content = Uint8Array.from({ length: 20_000 }, (_, i) => (i * 31) % 251);
const folder = mkdtempSync(join(tmpdir(), "heddle-ranges-"));
writeFileSync(join(folder, "a"), content);
afterAll(() => rmSync(folder, { recursive: true }));

const endsInside = ({ file }: ByteRange, byte: number) => new Error(`${file} ends at ${byte}`);
const windowsOf = (size: number) => [new Uint8Array(size), new Uint8Array(size)] as const;

async function collect(source: FileSource, ranges: readonly ByteRange[], size: number) {
  const pieces: { range: ByteRange; bytes: Uint8Array }[] = [];
  const windows = windowsOf(size);
  for await (const { range, bytes, place } of readRanges(source, ranges, {
    windows: () => windows,
    endsInside,
  })) {
    if (place !== undefined) {
      const there = windows[place.window].subarray(place.from, place.from + bytes.byteLength);
      expect(there).toEqual(bytes);
    }
    pieces.push({ range, bytes: bytes.slice() });
  }
  return pieces;
}

test("pieces are whole units, come in order and join to their ranges, whatever the windows", async () => {
  const cut = fc.record({
    gap: fc.nat(6000),
    units: fc.nat(40),
    unitBytes: fc.integer({ min: 1, max: 300 }),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(cut, { maxLength: 12 }),
      fc.integer({ min: 100, max: 3000 }),
      async (cuts, size) => {
        let at = 0;
        const ranges = cuts.flatMap(({ gap, units, unitBytes }): ByteRange[] => {
          const start = at + gap;
          at = start + units * unitBytes;
          return at > content.length ? [] : [{ file: "a", start, end: at, unitBytes }];
        });
        for (const source of [memorySource({ a: content }), directorySource(folder)]) {
          const pieces = await collect(source, ranges, size);
          for (const range of ranges) {
            const own = pieces.filter((piece) => piece.range === range).map(({ bytes }) => bytes);
            expect(Buffer.concat(own)).toEqual(Buffer.from(content.subarray(range.start, range.end)));
            expect(own.slice(0, -1).every(({ byteLength }) => byteLength % range.unitBytes === 0)).toBe(true);
          }
        }
      },
    ),
    { numRuns: 60 },
  );
});

test("a target is filled in one piece, and a unit that fits in no window has memory of its own", async () => {
  const target = new Uint8Array(500);
  const ranges = [
    { file: "a", start: 0, end: 500, unitBytes: 1, target },
    { file: "a", start: 600, end: 1600, unitBytes: 1000 },
  ];
  const pieces = await collect(directorySource(folder), ranges, 400);
  expect(target).toEqual(content.subarray(0, 500));
  expect(pieces.map(({ bytes }) => bytes)).toEqual([content.slice(0, 500), content.slice(600, 1600)]);
});

test("a file that ends too soon is refused with the byte, and is closed when the reader stops early", async () => {
  const long = [{ file: "a", start: 19_000, end: 21_000, unitBytes: 100 }];
  for (const source of [memorySource({ a: content }), directorySource(folder)]) {
    await expect(collect(source, long, 4000)).rejects.toThrow("a ends at 20000");
  }
  let numOpen = 0;
  const source: FileSource = {
    ...directorySource(folder),
    async open(name) {
      const file = await directorySource(folder).open?.(name);
      if (file === undefined) throw new Error("a directory opens files");
      numOpen++;
      return {
        ...file,
        close: () => {
          numOpen--;
          return file.close();
        },
      };
    },
  };
  const ranges = [{ file: "a", start: 0, end: 20_000, unitBytes: 100 }];
  for await (const _ of readRanges(source, ranges, { windows: () => windowsOf(1000), endsInside })) break;
  expect(numOpen).toBe(0);
});

test("a source that gives memory of its own is asked for bytes alone: no window is made for it", async () => {
  const never = () => {
    throw new Error("memory was asked for");
  };
  const target = new Uint8Array(500);
  const ranges = [
    { file: "a", start: 0, end: 500, unitBytes: 1, target },
    { file: "a", start: 600, end: 1600, unitBytes: 100 },
  ];
  const source = memorySource({ a: content });
  const seen: number[] = [];
  for await (const { bytes, place } of readRanges(source, ranges, { windows: never, endsInside })) {
    seen.push(bytes.byteLength);
    expect(place).toBeUndefined();
  }
  expect(seen).toEqual([500, 1000]);
  expect(target).toEqual(content.subarray(0, 500));
});

test("memory in several places is filled by one call, empty places and a file that ends too soon included", async () => {
  const file = await directorySource(folder).open?.("a");
  const sizes = [3, 0, 700, ...new Array<number>(1100).fill(5), 40];
  const whole = new Uint8Array(sizes.reduce((sum, size) => sum + size, 0));
  let end = 0;
  const targets = sizes.map((size) => {
    end += size;
    return whole.subarray(end - size, end);
  });
  expect(await file?.readIntoAll?.(17, targets)).toBe(whole.byteLength);
  expect(whole).toEqual(content.subarray(17, 17 + whole.byteLength));
  expect(await file?.readIntoAll?.(19_990, targets)).toBe(10);
  await file?.close();
});
