import { cpu, type Device, randn, reference, scope, type Tensor, tensor, valueAndGrad } from "@heddle/tensor";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { worstExcess } from "../test/devices.js";
import { attention, attentionWithLse, visitedTiles } from "./attention.js";
import {
  allOf,
  anyOf,
  blockSparse,
  causal,
  chunked,
  columns,
  documentIds,
  documents,
  firstKeys,
  type Mask,
  padding,
  prefix,
  queries,
  slidingWindow,
  strided,
  tensorMask,
} from "./masks.js";

/** A mask to be made on a device for known extents: masks with tensors belong to one device. */
type Recipe = (device: Device, extents: Extents) => Mask;

interface Extents {
  readonly batch: number;
  readonly numHeads: number;
  readonly queryLen: number;
  readonly keyLen: number;
}

/** Numbers that look random and are the same on every device. */
function flags(
  device: Device,
  shape: readonly number[],
  { seed, share }: { seed: number; share: number },
): Tensor {
  const size = shape.reduce((a, b) => a * b, 1);
  let state = seed * 2654435761;
  const next = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  return tensor(
    device,
    Uint8Array.from({ length: size }, () => (next() < share ? 1 : 0)),
    { shape, dtype: "bool" },
  );
}

const size = fc.integer({ min: 1, max: 70 });
const seed = fc.integer({ min: 1, max: 1e6 });
const share = fc.constantFrom(0.02, 0.5, 0.97);

const leaf: fc.Arbitrary<Recipe> = fc.oneof(
  fc.constant(() => causal()),
  size.map((n) => () => slidingWindow(n)),
  size.map((n) => () => chunked(n)),
  size.map((n) => () => firstKeys(n)),
  size.map((n) => () => strided(n)),
  fc.tuple(size, size).map(
    ([a, b]) =>
      () =>
        columns(Math.max(a, b), Math.min(a, b)),
  ),
  size.map(
    (n) =>
      (device: Device, { batch }: Extents) =>
        prefix(
          tensor(
            device,
            Int32Array.from({ length: batch }, (_, b) => n - b),
          ),
        ),
  ),
  fc.tuple(seed, share).map(
    ([s, part]) =>
      (device: Device, { batch, keyLen }: Extents) =>
        padding(flags(device, [batch, keyLen], { seed: s, share: part })),
  ),
  fc.tuple(seed, share).map(
    ([s, part]) =>
      (device: Device, { batch, queryLen }: Extents) =>
        queries(flags(device, [batch, queryLen], { seed: s, share: part })),
  ),
  fc
    .array(size, { minLength: 1, maxLength: 5 })
    .map((lengths) => (device: Device, { batch, keyLen }: Extents) => {
      const row = new Int32Array(keyLen).fill(-1);
      row.set(documentIds(lengths).subarray(0, keyLen));
      const ids = Int32Array.from({ length: batch * keyLen }, (_, i) => row[i % keyLen] ?? -1);
      return documents(tensor(device, ids, { shape: [batch, keyLen] }));
    }),
  fc
    .tuple(seed, share, fc.constantFrom(5, 16, 32, 48, 64, 96), fc.boolean())
    .map(([s, part, blockSize, perHead]) => (device: Device, { numHeads, queryLen, keyLen }: Extents) => {
      const blocks = [Math.ceil(queryLen / blockSize), Math.ceil(keyLen / blockSize)];
      const shape = perHead ? [numHeads, ...blocks] : blocks;
      return blockSparse(flags(device, shape, { seed: s, share: part }), { blockSize });
    }),
  fc.tuple(seed, share, fc.boolean(), fc.boolean()).map(
    ([s, part, perBatch, perHead]) =>
      (device: Device, { batch, numHeads, queryLen, keyLen }: Extents) =>
        tensorMask(
          flags(device, [perBatch ? batch : 1, perHead ? numHeads : 1, queryLen, keyLen], {
            seed: s,
            share: part,
          }),
        ),
  ),
);

const recipes: fc.Arbitrary<Recipe> = fc.oneof(
  leaf,
  fc
    .array(leaf, { minLength: 1, maxLength: 3 })
    .map(
      (parts) => (device: Device, extents: Extents) => allOf(...parts.map((part) => part(device, extents))),
    ),
  fc.tuple(leaf, leaf, leaf).map(
    ([a, b, c]) =>
      (device: Device, extents: Extents) =>
        allOf(a(device, extents), anyOf(b(device, extents), c(device, extents))),
  ),
);

const extents = fc.record({
  batch: fc.integer({ min: 1, max: 2 }),
  numHeads: fc.constantFrom(2, 4),
  queryLen: fc.integer({ min: 1, max: 110 }),
  more: fc.integer({ min: 0, max: 90 }),
});

/** Values, gradients and counts of one call. */
function everything(device: Device, which: Extents, recipe: Recipe): Record<string, ArrayLike<number>> {
  return scope(device, () => {
    const { batch, numHeads, queryLen, keyLen } = which;
    const mask = recipe(device, which);
    const weights = {
      query: randn(device, [batch, numHeads, queryLen, 7], { seed: 1 }),
      key: randn(device, [batch, 2, keyLen, 7], { seed: 2 }),
      value: randn(device, [batch, 2, keyLen, 5], { seed: 3 }),
    };
    const { out, lse } = attentionWithLse(weights.query, weights.key, weights.value, { mask });
    const weight = randn(device, out.shape, { seed: 4 });
    const { grad } = valueAndGrad((w: typeof weights) =>
      attention(w.query, w.key, w.value, { mask }).mul(weight).sum(),
    )(weights);
    const { visited } = visitedTiles(weights.query, weights.key, mask);
    const all = Object.entries({ out, lse, visited, ...grad });
    return Object.fromEntries(all.map(([name, x]) => [name, x.dataSync()]));
  });
}

describe("masks", () => {
  const slow = reference();
  let fast: Device;
  beforeAll(() => {
    fast = cpu({ threads: 2 });
  });
  afterAll(() => fast.dispose());

  test("any composition gives values, gradients and no more tiles than its parts, as the float64 twin", () => {
    fc.assert(
      fc.property(extents, recipes, ({ more, ...rest }, recipe) => {
        const which = { ...rest, keyLen: rest.queryLen + more };
        const expected = everything(slow, which, recipe);
        const actual = everything(fast, which, recipe);
        for (const name of ["out", "lse", "query", "key", "value"]) {
          expect(worstExcess(actual[name] ?? [], expected[name] ?? [], 1e-4), name).toBeLessThanOrEqual(2e-5);
        }
        // A composition is known tile by tile of its parts: it may visit a tile in which their keys do not meet.
        const [visited = [], least = []] = [actual.visited, expected.visited];
        for (let i = 0; i < visited.length; i++) expect(visited[i]).toBeGreaterThanOrEqual(least[i] ?? 0);
      }),
      { numRuns: 14 },
    );
  }, 60_000);

  test("kernels visit the tiles that hold a seen key, and no other", () => {
    fc.assert(
      fc.property(extents, leaf, fc.boolean(), ({ more, ...rest }, recipe, isCausal) => {
        const which = { ...rest, keyLen: rest.queryLen + more };
        const counted = (device: Device) =>
          scope(device, () => {
            const query = randn(device, [which.batch, which.numHeads, which.queryLen, 4], { seed: 1 });
            const key = randn(device, [which.batch, 1, which.keyLen, 4], { seed: 2 });
            const mask = recipe(device, which);
            const joined = isCausal && isBand(mask) ? allOf(causal(), mask) : mask;
            return Array.from(visitedTiles(query, key, joined).visited.dataSync());
          });
        expect(counted(fast)).toEqual(counted(slow));
      }),
      { numRuns: 14 },
    );
  }, 60_000);
});

/** Masks whose meeting with a causal one is again known exactly. */
function isBand({ kind }: Mask): boolean {
  return kind === "slidingWindow" || kind === "causal";
}
