import { cpu, disposeTree, randn, reference, type Tensor, tensor } from "@heddle/tensor";
import fc from "fast-check";
import { expect, test } from "vitest";
import { worstExcess } from "../test/devices.js";
import { treeOf } from "./any-cache.js";
import { attention } from "./attention.js";
import { cachedAttention } from "./cached-attention.js";
import { cropSlot } from "./crop-slot.js";
import { appendKv, createKvCache } from "./kv-cache.js";
import type { KvLayer, PagedKvLayer } from "./kv-layer.js";
import { causal } from "./masks.js";
import { createPageTable } from "./page-table.js";
import { createPagedKvCache } from "./paged-cache.js";
import { createQuantisedKvCache } from "./quantised-cache.js";
import { reorderSlots, restoreSlot, saveSlot } from "./saved-slot.js";
import { createSlidingKvCache } from "./sliding-cache.js";

const sizes = { numLayers: 1, numSlots: 4, maxSeqLen: 64, numKvHeads: 2, headDim: 8 };

test("a fork shares pages until one of both writes, and neither sees the other's tokens", () => {
  for (const device of [reference(), cpu({ threads: 1 })]) {
    const made = createPagedKvCache(device, { ...sizes, numPages: 10, pageSize: 8 });
    const layer = made.cache.layers[0] as PagedKvLayer;
    const q = randn(device, [1, 4, 30, 8], { seed: 1 });
    const kv = randn(device, [1, 2, 30, 8], { seed: 2 });
    const other = randn(device, [1, 2, 5, 8], { seed: 3 });
    const rows = (slot: number, start: number) => ({
      slots: tensor(device, Int32Array.of(slot)),
      starts: tensor(device, Int32Array.of(start)),
    });
    const append = (slot: number, start: number, x: Tensor) => {
      made.reserve(slot, { from: start, to: start + (x.shape[2] ?? 0) });
      appendKv(layer, x, x, rows(slot, start));
    };
    append(0, 0, kv.narrow(2, 0, 20));
    expect(made.pages.numFreePages).toBe(7);
    made.fork(0, 1, 20);
    expect(made.pages.numFreePages).toBe(7); // nothing copied
    append(1, 20, other); // the half page of both is copied, and one more taken
    expect(made.pages.numFreePages).toBe(5);
    append(0, 20, kv.narrow(2, 20, 30));
    const whole = attention(q, kv, kv, { mask: causal() });
    const last = cachedAttention(q.narrow(2, 20, 30), layer, rows(0, 20));
    expect(worstExcess(last.dataSync(), whole.narrow(2, 20, 30).dataSync(), 1e-4)).toBeLessThan(1e-5);
    const forked = cachedAttention(q.narrow(2, 24, 25), layer, rows(1, 24));
    const contiguous = createKvCache(device, sizes).layers[0] as KvLayer;
    appendKv(contiguous, kv.narrow(2, 0, 20), kv.narrow(2, 0, 20), rows(1, 0));
    appendKv(contiguous, other, other, rows(1, 20));
    const expected = cachedAttention(q.narrow(2, 24, 25), contiguous, rows(1, 24));
    expect(worstExcess(forked.dataSync(), expected.dataSync(), 1e-5)).toBeLessThan(1e-6);
    made.crop(0, 9);
    made.crop(1, 0);
    expect(made.pages.numFreePages).toBe(8);
    made.crop(0, 0);
    expect(made.pages.numFreePages).toBe(10);
  }
});

test("pages are never lost, never shared by mistake, whatever slots do", () => {
  const action = fc.record({
    kind: fc.constantFrom("reserve", "fork", "crop", "reorder"),
    slot: fc.nat(3),
    other: fc.nat(3),
    length: fc.nat(64),
  });
  fc.assert(
    fc.property(fc.array(action, { maxLength: 60 }), (actions) => {
      const table = createPageTable({ numPages: 20, pageSize: 8, numSlots: 4, maxSeqLen: 64 });
      const lengths = [0, 0, 0, 0];
      for (const { kind, slot, other, length } of actions) {
        const have = lengths[slot] ?? 0;
        try {
          if (kind === "reserve" && length > have) {
            table.reserve(slot, { from: have, to: length });
            lengths[slot] = length;
          } else if (kind === "fork" && slot !== other) {
            table.fork(slot, other, have);
            lengths[other] = have;
          } else if (kind === "crop" && length < have) {
            table.crop(slot, length);
            lengths[slot] = length;
          } else if (kind === "reorder") {
            const order = [slot, other, length % 4, 3];
            table.reorder(order);
            lengths.splice(0, 4, ...order.map((source) => lengths[source] ?? 0));
          }
        } catch (error) {
          expect(String(error)).toContain("a page must be free");
        }
        const held = new Map<number, number>();
        for (const page of table.entries) if (page >= 0) held.set(page, (held.get(page) ?? 0) + 1);
        for (const [page, count] of held) expect(table.owners(page)).toBe(count);
        expect(held.size + table.numFreePages).toBe(20);
        for (const [s, n] of lengths.entries()) {
          const row = table.entries.subarray(s * 8, s * 8 + 8);
          expect(row.findIndex((page) => page < 0)).toBe(Math.ceil(n / 8) === 8 ? -1 : Math.ceil(n / 8));
        }
        // What is about to be written is nobody else's.
        const next = lengths[slot] ?? 0;
        if (next < 64 && table.numFreePages > 0) {
          table.reserve(slot, { from: next, to: next + 1 });
          lengths[slot] = next + 1;
          expect(table.owners(table.entries[slot * 8 + Math.floor(next / 8)] ?? -1)).toBe(1);
        }
      }
    }),
    { numRuns: 60 },
  );
});

test("a saved slot comes back in any kind of cache; beams change places", async () => {
  for (const device of [reference(), cpu({ threads: 1 })]) {
    const kv = randn(device, [1, 2, 40, 8], { seed: 2 });
    const q = randn(device, [1, 2, 1, 8], { seed: 1 });
    const at = (slot: number, start: number) => ({
      slots: tensor(device, Int32Array.of(slot)),
      starts: tensor(device, Int32Array.of(start)),
    });
    const paged = createPagedKvCache(device, { ...sizes, numPages: 16, pageSize: 8 });
    const caches = [
      { cache: createKvCache(device, sizes), tolerance: 1e-6 },
      { cache: createSlidingKvCache(device, { ...sizes, window: 40, maxNewTokens: 41 }), tolerance: 1e-6 },
      { cache: paged, tolerance: 1e-6 },
      {
        cache: createQuantisedKvCache(device, { ...sizes, bits: 8, group: 8, maxNewTokens: 33 }),
        tolerance: 0.02,
      },
    ];
    const source = createKvCache(device, sizes);
    appendKv(source.layers[0] as KvLayer, kv, kv, at(1, 0));
    const expected = cachedAttention(q, source.layers[0] as KvLayer, at(1, 39)).dataSync();
    const saved = await saveSlot(source, 1, 40);
    for (const { cache, tolerance } of caches) {
      restoreSlot(cache, 3, saved);
      const layer = treeOf(cache).layers[0] as KvLayer;
      const out = cachedAttention(q, layer, at(3, 39)).dataSync();
      expect(worstExcess(out, expected, 0)).toBeLessThan(tolerance);
      const again = await saveSlot(cache, 3, 40);
      expect(worstExcess(again.layers[0]?.key ?? [], saved.layers[0]?.key ?? [], 0)).toBeLessThan(tolerance);
      reorderSlots(cache, [3, 3, 2, 1]);
      for (const slot of [0, 1]) {
        const moved = cachedAttention(q, layer, at(slot, 39)).dataSync();
        expect(worstExcess(moved, expected, 0)).toBeLessThan(tolerance);
      }
      const empty = cachedAttention(q, layer, at(3, 39)).dataSync();
      expect(worstExcess(empty, expected, 0)).toBeGreaterThan(tolerance);
    }
  }
});

test("errors name the rule, the values and the cure", async () => {
  const device = reference();
  const paged = { ...sizes, numPages: 2, pageSize: 8 };
  expect(() => createPagedKvCache(device, { ...paged, pageSize: 12 })).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: createPagedKvCache: pageSize must be a power of two; got pageSize 12. Use 16.]`,
  );
  expect(() => createPagedKvCache(device, { ...paged, numPages: 0 })).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: createPagedKvCache: numPages must be a whole number above 0; got numPages 0. Take it from the model's config.]`,
  );
  const made = createPagedKvCache(device, paged);
  expect(() => made.reserve(4, { from: 0, to: 1 })).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: pageTable: slots are 0..3; got slot 4. Create the cache with more slots.]`,
  );
  expect(() => made.reserve(0, { from: 0, to: 65 })).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: pageTable: positions must lie in 0..maxSeqLen; got slot 0, positions 0..65 of 64. Stop or shorten the sequence, or create a larger cache.]`,
  );
  expect(() => made.reserve(0, { from: 0, to: 17 })).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: pageTable: a page must be free for each new one; got slot 0 in want of 3, 2 of 2 free. Crop or release another slot, or create the cache with more pages.]`,
  );
  expect(() => reorderSlots(made.cache, [0, 1, 2, 3])).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: reorderSlots: who holds which page of a paged cache must be known; got its tensors alone. Pass the PagedKvCache itself.]`,
  );
  expect(() => cropSlot(made.cache, 0, { from: 1, to: 0 })).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: cropSlot: who holds which page of a paged cache must be known; got its tensors alone. Pass the PagedKvCache itself.]`,
  );
  expect(() => reorderSlots(made, [0, 1])).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: reorderSlots: order must name a slot for each slot; got 2 for 4 slots. Name a slot itself to keep it.]`,
  );
  const cache = createKvCache(device, sizes);
  expect(() => reorderSlots(cache, [0, 1])).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: reorderSlots: order must name a slot for each slot; got 2 for 4 slots. Name a slot itself to keep it.]`,
  );
  for (const any of [cache, made]) {
    expect(() => reorderSlots(any, [0, 1, 4, 3])).toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: reorderSlots: order must name slots 0..3; got slot 4. Name a slot itself to keep it.]`,
    );
  }
  await expect(saveSlot(cache, 0, 0)).rejects.toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: saveSlot: length must be a whole number above 0; got length 0. An empty slot has nothing to save.]`,
  );
  const saved = await saveSlot(cache, 0, 3);
  const narrow = createKvCache(device, { ...sizes, headDim: 4 });
  expect(() => restoreSlot(narrow, 0, saved)).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: restoreSlot: key of layer 0 must hold 24 numbers; got 48. Restore into a cache of the same model.]`,
  );
  const deep = createKvCache(device, { ...sizes, numLayers: 2 });
  expect(() => restoreSlot(deep, 0, saved)).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: restoreSlot: the cache must have the layers that were saved; got 2 layers, saved 1. Restore into a cache of the same model.]`,
  );
  expect(() => createSlidingKvCache(device, { ...sizes, window: 0 })).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: createSlidingKvCache: window must be a whole number above 0; got window 0. Take it from the model's config.]`,
  );
  const odd = { ...sizes, headDim: 7, bits: 4 } as const;
  expect(() => createQuantisedKvCache(device, odd)).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: createQuantisedKvCache: 4-bit rows must have an even size; got headDim 7, valueDim 7. Use 8 bits.]`,
  );
  expect(() => createQuantisedKvCache(device, { ...odd, bits: 2 as 4 })).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: createQuantisedKvCache: bits must be 8 or 4; got bits 2. Use createKvCache for half floats.]`,
  );
  const sliding = createSlidingKvCache(device, { ...sizes, window: 4, maxNewTokens: 2 }).layers[0] as KvLayer;
  const rows = { slots: tensor(device, Int32Array.of(0)), starts: tensor(device, Int32Array.of(0)) };
  const q = randn(device, [1, 2, 3, 8], { seed: 1 });
  expect(() => cachedAttention(q, sliding, rows)).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: cachedAttention: a sliding cache needs room for the window and all new tokens; got window 4 and 3 tokens, capacity 5. Create it with maxNewTokens 3, or attend in shorter chunks.]`,
  );
  disposeTree([cache, made.cache, narrow, deep]);
});
