import { cpu, type Device, disposeTree, HeddleError } from "@heddle/tensor";
import { expect, test } from "vitest";
import { createKvCache } from "./kv-cache.js";
import { createLatentCache } from "./latent.js";
import { createPagedKvCache } from "./paged-cache.js";
import { createQuantisedKvCache } from "./quantised-cache.js";
import { createSlidingKvCache } from "./sliding-cache.js";

const sizes = { numSlots: 2, maxSeqLen: 256, numKvHeads: 2, headDim: 64 };

/** How each kind of cache is made, of any number of layers. */
const makers: Readonly<Record<string, (device: Device, numLayers: number) => object>> = {
  contiguous: (device, numLayers) => createKvCache(device, { ...sizes, numLayers }),
  sliding: (device, numLayers) => createSlidingKvCache(device, { ...sizes, numLayers, window: 200 }),
  quantised: (device, numLayers) => createQuantisedKvCache(device, { ...sizes, numLayers, bits: 8 }),
  paged: (device, numLayers) =>
    createPagedKvCache(device, { ...sizes, numLayers, numPages: 32, pageSize: 16 }).cache,
  latent: (device, numLayers) =>
    createLatentCache(device, { ...sizes, numLayers, latentDim: 96, rotatedDim: 32 }),
};

test.each(Object.entries(makers))("a %s cache that does not fit leaves nothing behind", (_, make) => {
  const device = cpu({ threads: 1, maxBytes: 2 ** 23 });
  const fitting = make(device, 2);
  expect(device.memory().buffers).toBeGreaterThan(1);
  disposeTree(fitting);
  expect(device.memory().buffers).toBe(0);
  expect(() => make(device, 2000)).toThrow(HeddleError);
  expect(device.memory().buffers).toBe(0);
  device.dispose();
});
