import { cpu, type GgmlType, ggmlTypeInfo } from "@heddle/tensor";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { edgeBlocks } from "../test/random-blocks.js";
import { writers } from "./kernels/pack-types.js";
import { createPanels } from "./panels.js";
import { fillPanels, quantBlockTypes } from "./panels-from-blocks.js";
import { createBlockPacker, formatOfBlocks } from "./quant-from-blocks.js";

const machines = [
  { name: "two threads", device: cpu({ threads: 2 }) },
  { name: "plain SIMD", device: cpu({ threads: 1, disable: { relaxedSimd: true, revectorized: true } }) },
];
afterAll(() => {
  for (const { device } of machines) device.dispose();
});

describe.each(machines)("on $name", ({ device }) => {
  test.each(Object.keys(writers) as GgmlType[])(
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
            const bytes = edgeBlocks(type, outFeatures * inFeatures, seed);
            const layout = { ...formatOfBlocks(type), inFeatures, outFeatures, type };
            // Rows that only fill up the last panel are those of zero bytes.
            const whole = { ...layout, outFeatures: 16 * Math.ceil(outFeatures / 16) };
            const expected = createPanels(whole);
            const filled = new Uint8Array((bytes.length / outFeatures) * whole.outFeatures);
            filled.set(bytes);
            fillPanels(whole, expected, { bytes: filled, firstRow: 0 });
            const packer = createBlockPacker(device, type, [outFeatures, inFeatures]);
            const step = pieces * packer.pieceBytes;
            for (let at = 0; at < bytes.length; at += step) packer.write(bytes.subarray(at, at + step));
            using weight = packer.finish();
            for (const [name, values] of Object.entries(expected)) {
              const part = weight.parts[name as keyof typeof expected];
              expect([name, Array.from(part?.dataSync() ?? [])]).toEqual([name, Array.from(values)]);
            }
          },
        ),
        { numRuns: 25 },
      );
      expect(device.memory().buffers).toBe(0);
    },
  );
});

test("every type has a kernel", () => {
  expect(Object.keys(writers).sort()).toEqual([...quantBlockTypes].sort());
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
