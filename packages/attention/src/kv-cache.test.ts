import {
  compile,
  cpu,
  type Device,
  disposeTree,
  randn,
  reference,
  type Tensor,
  tensor,
} from "@heddle/tensor";
import { expect, test } from "vitest";
import { describeCache } from "../test/conformance.js";
import { worstExcess } from "../test/devices.js";
import type { CacheRows } from "./append-rows.js";
import { attention } from "./attention.js";
import { cachedAttention } from "./cached-attention.js";
import { appendKv, checkCacheRows, createKvCache } from "./kv-cache.js";
import type {
  KvCache,
  KvCacheLayer,
  KvLayer,
  PagedKvLayer,
  QuantisedKvLayer,
  SlidingKvLayer,
} from "./kv-layer.js";
import { allOf, causal, slidingWindow } from "./masks.js";
import { createPagedKvCache, type PagedKvCache } from "./paged-cache.js";
import { createQuantisedKvCache } from "./quantised-cache.js";
import { createSlidingKvCache } from "./sliding-cache.js";

describeCache<KvCacheLayer>({
  name: "contiguous",
  create(device, sizes) {
    return firstOf(createKvCache(device, { numLayers: 1, ...sizes }));
  },
  append: appendKv,
  attend: cachedAttention,
});

describeCache<SlidingKvLayer>({
  name: "sliding",
  window: 37,
  create(device, { maxSeqLen: _, ...sizes }) {
    return firstOf(createSlidingKvCache(device, { numLayers: 1, window: 37, maxNewTokens: 90, ...sizes }));
  },
  append: appendKv,
  attend: cachedAttention,
});

/** Positions are reserved for whatever a test appends; pages of several sizes. */
function describePaged(pageSize: number): void {
  const managers = new WeakMap<PagedKvLayer, PagedKvCache & { readonly most: number }>();
  describeCache<PagedKvLayer>({
    name: `paged by ${pageSize}`,
    create(device, sizes) {
      const numPages = Math.ceil(400 / pageSize) + 8;
      const made = createPagedKvCache(device, { numLayers: 1, numPages, pageSize, ...sizes });
      const layer = firstOf(made.cache);
      managers.set(layer, { ...made, most: sizes.maxSeqLen });
      return layer;
    },
    append(layer, key, value, rows) {
      const made = managers.get(layer);
      const starts = rows.starts.dataSync();
      const count = key.shape[2] ?? 0;
      for (const [row, slot] of Array.from(rows.slots.dataSync()).entries()) {
        const from = starts[row] ?? 0;
        if (slot < 0 || slot >= 4 || from < 0 || from + count > (made?.most ?? 0)) continue;
        made?.reserve(slot, { from, to: from + count });
      }
      appendKv(layer, key, value, rows);
    },
    attend: cachedAttention,
    cacheOf: (layer) => managers.get(layer) ?? { layers: [layer] },
  });
}
describePaged(16);
describePaged(128);

for (const [bits, rounding] of [
  [8, 0.03],
  [4, 0.45],
] as const) {
  describeCache<QuantisedKvLayer>({
    name: `${bits}-bit`,
    rounding,
    create(device, { headDim: _, valueDim: __, ...sizes }) {
      const options = { numLayers: 1, bits, group: 16, maxNewTokens: 90, headDim: 22, valueDim: 14 } as const;
      return firstOf(createQuantisedKvCache(device, { ...sizes, ...options }));
    },
    sizes: { headDim: 22, valueDim: 14 },
    append: appendKv,
    attend: cachedAttention,
  });
}

function firstOf<Layer extends KvLayer>({ layers }: KvCache<Layer>): Layer {
  const [layer] = layers;
  if (layer === undefined) throw new Error("a cache of one layer has no layer");
  return layer;
}

const options = { numLayers: 2, numSlots: 3, maxSeqLen: 8, numKvHeads: 2, headDim: 4 };

function firstLayer(device: Device): KvCacheLayer {
  return createKvCache(device, options).layers[0] as KvCacheLayer;
}

test("a cache is a tree of zeros that its owner frees", () => {
  const device = reference();
  const cache = createKvCache(device, { ...options, valueDim: 6 });
  expect(cache.layers.map(({ key, value }) => [key.shape, value.shape])).toEqual([
    [
      [3, 2, 8, 4],
      [3, 2, 8, 6],
    ],
    [
      [3, 2, 8, 4],
      [3, 2, 8, 6],
    ],
  ]);
  disposeTree(cache);
  expect(device.memory().buffers).toBe(0);
});

test("errors name the rule, the values and the cure", () => {
  const device = reference();
  const layer = firstLayer(device);
  const x = (shape: number[]) => randn(device, shape, { seed: 1 });
  const one = tensor(device, Int32Array.of(0));
  const rows = { slots: one, starts: one };
  expect(() => createKvCache(device, { ...options, numSlots: 0 })).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: createKvCache: numSlots must be a whole number above 0; got numSlots 0. Take it from the model's config.]`,
  );
  expect(() => appendKv(layer, x([1, 3, 1, 4]), x([1, 3, 1, 4]), rows)).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: appendKv: key must be [batch, 2, length <= 8, 4] to fit the cache; got key [1, 3, 1, 4]. Create the cache with the model's numKvHeads and headDim.]`,
  );
  expect(() => appendKv(layer, x([1, 2, 9, 4]), x([1, 2, 9, 4]), rows)).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: appendKv: key must be [batch, 2, length <= 8, 4] to fit the cache; got key [1, 2, 9, 4]. Create the cache with the model's numKvHeads and headDim.]`,
  );
  expect(() => appendKv(layer, x([2, 2, 1, 4]), x([2, 2, 1, 4]), rows)).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: appendKv: slots must be i32 [2], one number per batch row; got slots i32[1]. Create it from an Int32Array of length 2.]`,
  );
  expect(() =>
    appendKv(layer, x([1, 2, 1, 4]).cast("i32"), x([1, 2, 1, 4]), rows),
  ).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: appendKv: key must be a float; got i32. Cast it to f64 first.]`,
  );
  expect(() => cachedAttention(x([1, 2, 1, 4]).cast("i32"), layer, rows)).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: cachedAttention: query must be a float; got i32. Cast it to f64 first.]`,
  );
  expect(() => cachedAttention(x([1, 3, 1, 4]), layer, rows)).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: cachedAttention: query must be [batch, heads, seq, 4] with heads a multiple of 2; got query [1, 3, 1, 4], cached key [3, 2, 8, 4]. Create the cache with the model's numKvHeads and headDim.]`,
  );
  expect(() =>
    cachedAttention(x([1, 2, 1, 4]), layer, { ...rows, window: 0 }),
  ).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: cachedAttention: window must be a whole number above 0; got window 0. Leave it out to see everything.]`,
  );
  expect(() =>
    cachedAttention(x([1, 2, 1, 4]), layer, { slots: one, starts: tensor(device, Float32Array.of(0)) }),
  ).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: cachedAttention: starts must be i32 [1], one number per batch row; got starts f32[1]. Create it from an Int32Array of length 1.]`,
  );
  expect(() =>
    checkCacheRows(layer, { slots: [0, 2], starts: [1, 7], length: 2 }),
  ).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: checkCacheRows: every row needs a slot below numSlots and room for its tokens; got row 1 with slot 2 of 3, start 7 + length 2 of maxSeqLen 8. Stop or shorten the sequence, or create a larger cache.]`,
  );
});

test("one compiled step serves every length", () => {
  const device = cpu({ threads: 2 });
  const layer = createKvCache(device, {
    numLayers: 1,
    numSlots: 2,
    maxSeqLen: 300,
    numKvHeads: 2,
    headDim: 16,
  }).layers[0] as KvCacheLayer;
  const step = compile((cached: KvCacheLayer, q: Tensor, kv: Tensor, rows: CacheRows) => {
    appendKv(cached, kv, kv, rows);
    return cachedAttention(q, cached, rows);
  });
  const length = 270;
  const q = randn(device, [1, 6, length, 16], { seed: 1 });
  const kv = randn(device, [1, 2, length, 16], { seed: 2 });
  const whole = attention(q, kv, kv, { mask: causal() });
  const slots = tensor(device, Int32Array.of(1));
  for (let t = 0; t < length; t++) {
    const rows = { slots, starts: tensor(device, Int32Array.of(t)) };
    const out = step(layer, q.narrow(2, t, t + 1), kv.narrow(2, t, t + 1), rows);
    const expected = whole.narrow(2, t, t + 1).dataSync();
    expect(worstExcess(out.dataSync(), expected, 1e-4)).toBeLessThan(1e-5);
  }
  expect(step.plans()).toHaveLength(1);
  step.dispose();
  device.dispose();
});

test("window and softcap apply to cached attention as to full attention", () => {
  const oracle = reference();
  const device = cpu({ threads: 1 });
  for (const on of [oracle, device]) {
    const layer = createKvCache(on, { numLayers: 1, numSlots: 1, maxSeqLen: 90, numKvHeads: 1, headDim: 12 })
      .layers[0] as KvCacheLayer;
    const q = randn(on, [1, 2, 80, 12], { seed: 1 });
    const kv = randn(on, [1, 1, 80, 12], { seed: 2 });
    const rows = { slots: tensor(on, Int32Array.of(0)), starts: tensor(on, Int32Array.of(0)) };
    appendKv(layer, kv, kv, rows);
    const mask = allOf(causal(), slidingWindow(20));
    const expected = attention(q, kv, kv, { mask, softcap: 2 });
    const chunk = cachedAttention(q, layer, { ...rows, window: 20, softcap: 2 });
    expect(worstExcess(chunk.dataSync(), expected.dataSync(), 1e-4)).toBeLessThan(1e-5);
    const last = { slots: rows.slots, starts: tensor(on, Int32Array.of(79)) };
    const one = cachedAttention(q.narrow(2, 79, 80), layer, { ...last, window: 20, softcap: 2 });
    expect(worstExcess(one.dataSync(), expected.narrow(2, 79, 80).dataSync(), 1e-4)).toBeLessThan(1e-5);
  }
  device.dispose();
});

test("a bf16 cache rounds what it stores and computes in f32", () => {
  const device = cpu({ threads: 1 });
  const sizes = {
    numLayers: 1,
    numSlots: 2,
    maxSeqLen: 20,
    numKvHeads: 1,
    headDim: 8,
    dtype: "bf16",
  } as const;
  const layer = createKvCache(device, sizes).layers[0] as KvCacheLayer;
  expect(layer.key.dtype).toBe("bf16");
  const q = randn(device, [1, 2, 9, 8], { seed: 1 });
  const kv = randn(device, [1, 1, 9, 8], { seed: 2 });
  const rows = { slots: tensor(device, Int32Array.of(1)), starts: tensor(device, Int32Array.of(0)) };
  const before = device.memory().buffers;
  appendKv(layer, kv, kv, rows);
  const out = cachedAttention(q, layer, rows);
  expect(device.memory().buffers).toBe(before + 1);
  const rounded = kv.cast("bf16").cast("f32");
  const expected = attention(q, rounded, rounded, { mask: causal() });
  expect(worstExcess(out.dataSync(), expected.dataSync(), 1e-4)).toBeLessThan(1e-5);
  device.dispose();
});
