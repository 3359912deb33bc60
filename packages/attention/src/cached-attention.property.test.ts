import { arange, cpu, type Device, randn, reference, scope, type Tensor, tensor } from "@heddle/tensor";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { worstExcess } from "../test/devices.js";
import { attention } from "./attention.js";
import { type CachedAttentionOptions, cachedAttention, crossAttention } from "./cached-attention.js";
import { appendKv, createKvCache } from "./kv-cache.js";
import type { KvCache, KvLayer } from "./kv-layer.js";
import { allOf, causal, chunked, slidingWindow } from "./masks.js";
import { createSlidingKvCache } from "./sliding-cache.js";

const cases = fc.record({
  group: fc.constantFrom(1, 2, 4, 5, 8),
  kvHeads: fc.constantFrom(1, 2),
  past: fc.integer({ min: 0, max: 300 }),
  queryLen: fc.oneof(fc.integer({ min: 1, max: 11 }), fc.integer({ min: 12, max: 60 })),
  headDim: fc.oneof(fc.integer({ min: 1, max: 36 }), fc.constantFrom(64, 72, 80)),
  valueDim: fc.oneof(fc.integer({ min: 1, max: 36 }), fc.constantFrom(64, 72)),
  window: fc.option(fc.integer({ min: 1, max: 200 }), { nil: undefined }),
  chunk: fc.option(fc.integer({ min: 1, max: 200 }), { nil: undefined }),
  softcap: fc.option(fc.constant(1.5), { nil: undefined }),
  distanceHeads: fc.constantFrom("none", "shared", "own"),
  hasBias: fc.boolean(),
  hasSinks: fc.boolean(),
  isSliding: fc.boolean(),
  dtype: fc.constantFrom("f32", "f16", "bf16"),
});
type Case = typeof cases extends fc.Arbitrary<infer T> ? T : never;

const maxSeqLen = 384;

interface Parts {
  readonly query: Tensor;
  readonly key: Tensor;
  readonly value: Tensor;
  readonly bias: Tensor | undefined;
  readonly distanceBias: Tensor | undefined;
  readonly sinks: Tensor | undefined;
}

function partsOf(device: Device, which: Case): Parts {
  const { group, kvHeads, past, queryLen, headDim, valueDim, distanceHeads } = which;
  const heads = group * kvHeads;
  const length = past + queryLen;
  const rounded = (x: Tensor) => (which.dtype === "f32" ? x : x.cast(which.dtype).cast(device.defaultFloat));
  return {
    query: randn(device, [1, heads, queryLen, headDim], { seed: 1 }),
    key: rounded(randn(device, [1, kvHeads, length, headDim], { seed: 2 })),
    value: rounded(randn(device, [1, kvHeads, length, valueDim], { seed: 3 })),
    bias:
      which.hasBias && !which.isSliding
        ? randn(device, [1, heads, queryLen, maxSeqLen], { seed: 4 })
        : undefined,
    distanceBias:
      distanceHeads === "none"
        ? undefined
        : randn(device, [distanceHeads === "own" ? heads : 1, maxSeqLen], { seed: 5 }),
    sinks: which.hasSinks ? randn(device, [heads], { seed: 6 }) : undefined,
  };
}

/** The same through full attention: every bias as a matrix. */
function expectedOf(device: Device, which: Case): ArrayLike<number> {
  return scope(device, () => {
    const { query, key, value, bias, distanceBias, sinks } = partsOf(device, which);
    const { past, queryLen, softcap, window, chunk } = which;
    const length = past + queryLen;
    const masks = [causal(), ...(window ? [slidingWindow(window)] : []), ...(chunk ? [chunked(chunk)] : [])];
    const distance = arange(device, { start: past, stop: length }, { dtype: "i32" })
      .reshape([queryLen, 1])
      .sub(arange(device, length, { dtype: "i32" }));
    const near = distanceBias
      ?.take(distance.reshape([-1]), { axis: 1 })
      .reshape([1, distanceBias.shape[0] ?? 1, queryLen, length]);
    const far = bias?.narrow(3, 0, length);
    const total = near && far ? near.add(far) : (near ?? far);
    const options = { mask: allOf(...masks), softcap, sinks, ...(total && { bias: total }) };
    return attention(query, key, value, options as Parameters<typeof attention>[3]).dataSync();
  });
}

function actualOf(device: Device, which: Case): ArrayLike<number> {
  return scope(device, () => {
    const { query, key, value, ...rules } = partsOf(device, which);
    const { past, queryLen, kvHeads, headDim, valueDim } = which;
    const dtype = which.dtype === "f32" ? device.defaultFloat : which.dtype;
    const sizes = { numLayers: 1, numSlots: 3, numKvHeads: kvHeads, headDim, valueDim, dtype } as const;
    const window = which.window ?? maxSeqLen;
    const cache: KvCache<KvLayer> = which.isSliding
      ? createSlidingKvCache(device, { ...sizes, window, maxNewTokens: 70 })
      : createKvCache(device, { ...sizes, maxSeqLen });
    const layer = cache.layers[0] as KvLayer;
    const slots = tensor(device, Int32Array.of(2));
    const append = (from: number, to: number) => {
      const rows = { slots, starts: tensor(device, Int32Array.of(from)) };
      appendKv(layer, key.narrow(2, from, to), value.narrow(2, from, to), rows);
    };
    for (let from = 0; from < past; from += 40) append(from, Math.min(past, from + 40));
    append(past, past + queryLen);
    const options = {
      slots,
      starts: tensor(device, Int32Array.of(past)),
      softcap: which.softcap,
      chunk: which.chunk,
      window: which.isSliding ? undefined : which.window,
      ...rules,
    };
    return cachedAttention(query, layer, options as CachedAttentionOptions).dataSync();
  });
}

describe.each([
  ["as the machine offers", {}],
  ["without relaxed SIMD", { relaxedSimd: true }],
  ["without revectorisation", { revectorized: true }],
] as const)("cached attention %s", (_, disable) => {
  const slow = reference();
  let fast: Device;
  beforeAll(() => {
    fast = cpu({ threads: 2, disable });
  });
  afterAll(() => fast.dispose());

  test("equals full attention under every rule, for contiguous and sliding caches, on kernels and compositions", () => {
    fc.assert(
      fc.property(cases, (which) => {
        const expected = expectedOf(slow, which);
        expect(worstExcess(actualOf(fast, which), expected, 1e-4), "cpu").toBeLessThanOrEqual(2e-5);
        expect(worstExcess(actualOf(slow, which), expected, 1e-9), "reference").toBeLessThanOrEqual(1e-9);
      }),
      { numRuns: 10 },
    );
  }, 60_000);

  test.each<Pick<Case, "past" | "dtype" | "isSliding"> & Partial<Case>>([
    { past: 0, dtype: "f32", isSliding: false },
    { past: 63, dtype: "f32", isSliding: false },
    { past: 130, dtype: "f32", isSliding: false, window: 101, hasBias: true },
    { past: 150, dtype: "f16", isSliding: true, distanceHeads: "own" },
  ])("equals full attention where many heads share wide values: %j", (which) => {
    const shape = { group: 17, kvHeads: 1, queryLen: 2, headDim: 8, valueDim: 256 };
    const rules = { window: undefined, chunk: undefined, softcap: undefined, hasBias: false, hasSinks: true };
    const wide = { ...shape, ...rules, distanceHeads: "none", ...which } as Case;
    expect(worstExcess(actualOf(fast, wide), expectedOf(slow, wide), 1e-4)).toBeLessThanOrEqual(2e-5);
  });

  test.each([0.25, 3, 16])("follows scores that rise or fall by %d from key to key", (rise) => {
    const [length, headDim, group] = [70, 16, 4];
    const run = (device: Device) =>
      scope(device, () => {
        const sizes = { numLayers: 1, numSlots: 1, maxSeqLen: 96, numKvHeads: 1, headDim };
        const layer = createKvCache(device, sizes).layers[0] as KvLayer;
        const at = (start: number) => ({
          slots: tensor(device, Int32Array.of(0)),
          starts: tensor(device, Int32Array.of(start)),
        });
        // With queries of ones and a scale of 1/4, key j scores j times the rise; the other heads fall, rise slowly or stand.
        const key = arange(device, length, { dtype: device.defaultFloat })
          .mul(rise / 4)
          .reshape([1, 1, length, 1])
          .broadcastTo([1, 1, length, headDim]);
        appendKv(layer, key, randn(device, [1, 1, length, headDim], { seed: 1 }), at(0));
        const heads = tensor(device, Float32Array.of(1, -1, 0.125, 0)).cast(device.defaultFloat);
        const query = heads.reshape([1, group, 1, 1]).broadcastTo([1, group, 1, headDim]);
        return cachedAttention(query, layer, at(length - 1)).dataSync();
      });
    expect(worstExcess(run(fast), run(slow), 1e-4)).toBeLessThanOrEqual(2e-5);
  });

  test("cross attention sees every key of its slot, and nothing without keys", () => {
    for (const device of [slow, fast]) {
      for (const queryLen of [1, 5, 30]) {
        scope(device, () => {
          const query = randn(device, [3, 4, queryLen, 8], { seed: 1 });
          const key = randn(device, [1, 2, 50, 8], { seed: 2 });
          const value = randn(device, [1, 2, 50, 6], { seed: 3 });
          const sizes = { numLayers: 1, numSlots: 3, maxSeqLen: 64, numKvHeads: 2, headDim: 8, valueDim: 6 };
          const layer = createKvCache(device, sizes).layers[0] as KvLayer;
          const numbers = (...values: number[]) => tensor(device, Int32Array.from(values));
          appendKv(layer, key, value, { slots: numbers(1), starts: numbers(0) });
          const out = crossAttention(query, layer, { slots: numbers(1, 1, 2), lengths: numbers(50, 17, 0) });
          const row = (b: number, length: number) =>
            attention(
              query.narrow(0, b, b + 1),
              key.narrow(2, 0, length),
              value.narrow(2, 0, length),
            ).dataSync();
          expect(worstExcess(out.narrow(0, 0, 1).dataSync(), row(0, 50), 1e-4)).toBeLessThan(1e-5);
          expect(worstExcess(out.narrow(0, 1, 2).dataSync(), row(1, 17), 1e-4)).toBeLessThan(1e-5);
          expect(
            out
              .narrow(0, 2, 3)
              .dataSync()
              .every((x) => x === 0),
          ).toBe(true);
        });
      }
    }
  });
});
