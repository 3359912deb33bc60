import { cpu, type GgmlType, ggmlTypeInfo } from "@heddle/tensor";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { packedTypes } from "./kernels/pack-blocks.wasm.js";
import { createPanels } from "./panels.js";
import { fillPanels } from "./panels-from-blocks.js";
import { createBlockPacker, formatOfBlocks } from "./quant-from-blocks.js";

const machines = [
  { name: "two threads", device: cpu({ threads: 2 }) },
  { name: "plain SIMD", device: cpu({ threads: 1, disable: { relaxedSimd: true, revectorized: true } }) },
];
afterAll(() => {
  for (const { device } of machines) device.dispose();
});

/** Random blocks; exponents of half floats are kept from infinity and NaN, which no file holds. */
function randomBlocks(type: GgmlType, numBlocks: number, seed: number): Uint8Array {
  const { blockBytes } = ggmlTypeInfo(type);
  let state = seed | 1;
  const bytes = Uint8Array.from({ length: numBlocks * blockBytes }, () => {
    state = Math.imul(state, 1_664_525) + 1_013_904_223;
    return state >>> 24;
  });
  const halves = { Q4_1: [1, 3], Q4_K: [1, 3], Q6_K: [209] }[type as string] ?? [1];
  for (let at = 0; at < bytes.length; at += blockBytes) {
    for (const byte of halves) bytes[at + byte] = (bytes[at + byte] ?? 0) & 0xbf;
  }
  return bytes;
}

describe.each(machines)("on $name", ({ device }) => {
  test.each([...packedTypes] as GgmlType[])(
    "%s: the kernel packs what its twin packs, in pieces or at once",
    (type) => {
      const { blockSize } = ggmlTypeInfo(type);
      fc.assert(
        fc.property(
          fc.integer({ min: 1, max: 70 }),
          fc.integer({ min: 1, max: 5 }),
          fc.integer({ min: 1, max: 3 }),
          fc.nat(2 ** 30),
          (outFeatures, blocks, pieces, seed) => {
            const inFeatures = blocks * blockSize;
            const bytes = randomBlocks(type, outFeatures * blocks, seed);
            const layout = { ...formatOfBlocks(type), inFeatures, outFeatures, type };
            const expected = createPanels(layout);
            fillPanels(layout, expected, { bytes, firstRow: 0 });
            const packer = createBlockPacker(device, type, [outFeatures, inFeatures]);
            const step = pieces * packer.pieceBytes;
            for (let at = 0; at < bytes.length; at += step) packer.write(bytes.subarray(at, at + step));
            using weight = packer.finish();
            for (const [name, values] of Object.entries(expected)) {
              const part = weight.parts[name as keyof typeof expected];
              // Zeros of rows that only fill up a panel may be negative.
              const got = Array.from(part?.dataSync() ?? [], (value) => value + 0);
              expect([name, got]).toEqual([name, Array.from(values, (value) => value + 0)]);
            }
          },
        ),
        { numRuns: 25 },
      );
      expect(device.memory().buffers).toBe(0);
    },
  );
});

test("pieces that are not the rows of the weight are refused, and nothing stays", () => {
  const device = cpu({ threads: 1 });
  const packer = createBlockPacker(device, "Q4_0", [20, 32]);
  expect(packer.pieceBytes).toBe(16 * 18);
  packer.write(new Uint8Array(16 * 18));
  expect(() => packer.finish()).toThrow("[20, 32], 288 bytes. Pass the whole tensor");
  expect(() => packer.write(new Uint8Array(5 * 18))).toThrow("[20, 32], 378 bytes");
  packer.dispose();
  expect(device.memory().buffers).toBe(0);
  device.dispose();
});
