import { type Device, disposeTree, randn, type Tensor, tensor } from "@heddle/tensor";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  type AnyCache,
  allOf,
  attention,
  type CacheRows,
  type CropRange,
  causal,
  cropSlot,
  type KvLayer,
  type LatentKvLayer,
  reorderSlots,
  restoreSlot,
  saveSlot,
  slidingWindow,
} from "../src/index.js";
import { devices, worstExcess } from "./devices.js";

/** Extents of a cache under test. */
export interface CacheSizes {
  readonly numSlots: number;
  readonly maxSeqLen: number;
  readonly numKvHeads: number;
  readonly headDim: number;
  readonly valueDim: number;
}

/** A layer of any kind. */
export type AnyLayer = KvLayer | LatentKvLayer;

/** What every kind of cache offers: one layer of it, appended to in place, attended to causally. */
export interface CacheUnderTest<Layer extends AnyLayer> {
  readonly name: string;
  create(device: Device, sizes: CacheSizes): Layer;
  append(layer: Layer, key: Tensor, value: Tensor, rows: CacheRows): void;
  attend(query: Tensor, layer: Layer, rows: CacheRows): Tensor;
  /** The cache of a layer that `create` made. Default: the layer alone. */
  cacheOf?(layer: Layer): AnyCache;
  /** Positions that a query of this cache sees, its own included. Default: all. */
  readonly window?: number;
  /** The cache stores no values: those of a key are its first `valueDim` features, and there is one kv head. */
  readonly valueIsKey?: boolean;
  /** Sizes of rows, where not every one fits. */
  readonly sizes?: { readonly headDim: number; readonly valueDim: number };
  /** Largest error beside that of the device: what the cache's own rounding allows. Default 0. */
  readonly rounding?: number;
  /** Suites that cannot apply, each with the reason. */
  readonly skip?: readonly { readonly test: string; readonly reason: string }[];
}

interface Sequence {
  readonly slot: number;
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
}

/** Runs the laws of a cache on every device. */
export function describeCache<Layer extends AnyLayer>(cache: CacheUnderTest<Layer>): void {
  const law = (name: string, body: (trial: Trial<Layer>) => void | Promise<void>) => {
    const skipped = cache.skip?.find((entry) => entry.test === name);
    describe.each(devices)(`${cache.name} cache on $name`, ({ create, tolerance }) => {
      let device: Device;
      beforeAll(() => {
        device = create();
      });
      afterAll(() => device.dispose());
      const near: Near = (actual, expected) =>
        expect(worstExcess(actual.dataSync(), expected.dataSync(), tolerance.relative)).toBeLessThanOrEqual(
          tolerance.absolute + (cache.rounding ?? 0),
        );
      test.skipIf(skipped !== undefined)(skipped ? `${name} (${skipped.reason})` : name, async () => {
        const before = device.memory().buffers;
        await body({ device, cache, near });
        expect(device.memory().buffers).toBe(before);
      });
    });
  };

  law("token by token equals full attention", (trial) => {
    checkSteps(trial, { lengths: [1, 1, 1, 1, 1, 1, 1], group: 3 });
  });
  law("any chunks equal full attention", (trial) => {
    const chunk = fc.integer({ min: 1, max: 40 });
    fc.assert(
      fc.property(
        fc.array(chunk, { minLength: 1, maxLength: 4 }),
        fc.constantFrom(1, 2, 5),
        (lengths, group) => checkSteps(trial, { lengths, group }),
      ),
      { numRuns: 4 },
    );
  });
  law("tokens of one slot may be rows of one batch", checkRowsOfOneSlot);
  law("a row's numbers depend on nothing else in the batch, to the last bit", checkNeighbours);
  law("a slot is used again from the start without a trace", checkReuse);
  law("a cropped slot goes on as if the rest had never been", checkCrop);
  law("a saved slot goes on in another slot of another cache", checkSaved);
  law("slots change places", checkReorder);
  law("rows outside of the cache change nothing and give zeros", checkOutside);
}

type Near = (actual: Tensor, expected: Tensor) => void;

/** A cache on a device: what a law is tried on. */
interface Trial<Layer extends AnyLayer> {
  readonly device: Device;
  readonly cache: CacheUnderTest<Layer>;
  readonly near: Near;
}

const allSizes: CacheSizes = { numSlots: 4, maxSeqLen: 1040, numKvHeads: 2, headDim: 21, valueDim: 13 };

/** The capacity makes kernels cut long rows into parts; the reference has no kernels, and reads all of it each time. */
function sizesOf<Layer extends AnyLayer>(
  { valueIsKey, sizes }: CacheUnderTest<Layer>,
  { kind }: Device,
): CacheSizes {
  const maxSeqLen = kind === "reference" ? 176 : allSizes.maxSeqLen;
  return { ...allSizes, maxSeqLen, ...sizes, ...(valueIsKey && { numKvHeads: 1 }) };
}

function createLayer<Layer extends AnyLayer>(device: Device, cache: CacheUnderTest<Layer>): Layer {
  return cache.create(device, sizesOf(cache, device));
}

function cacheOf<Layer extends AnyLayer>(cache: CacheUnderTest<Layer>, layer: Layer): AnyCache {
  return cache.cacheOf?.(layer) ?? { layers: [layer] };
}

function sequence<Layer extends AnyLayer>(
  device: Device,
  cache: CacheUnderTest<Layer>,
  { slot, length, group, seed }: { slot: number; length: number; group: number; seed: number },
): Sequence {
  const { numKvHeads, headDim, valueDim } = sizesOf(cache, device);
  const k = randn(device, [1, numKvHeads, length, headDim], { seed: seed + 1 });
  return {
    slot,
    q: randn(device, [1, numKvHeads * group, length, headDim], { seed }),
    k,
    v: cache.valueIsKey
      ? k.narrow(3, 0, valueDim)
      : randn(device, [1, numKvHeads, length, valueDim], { seed: seed + 2 }),
  };
}

/** What of a sequence is disposed. */
const tensorsOf = ({ q, k, v }: Sequence): readonly Tensor[] => [q, k, v];

function rowsOf(device: Device, slots: readonly number[], starts: readonly number[]): CacheRows {
  return { slots: tensor(device, Int32Array.from(slots)), starts: tensor(device, Int32Array.from(starts)) };
}

/** Appends tokens `from`..`to` of a sequence and attends to them; the caller disposes the result. */
function step<Layer extends AnyLayer>(
  cache: CacheUnderTest<Layer>,
  layer: Layer,
  { seq, from, to }: { seq: Sequence; from: number; to: number },
): Tensor {
  const rows = rowsOf(seq.q.device, [seq.slot], [from]);
  const [q, k, v] = [seq.q, seq.k, seq.v].map((x) => x.narrow(2, from, to)) as [Tensor, Tensor, Tensor];
  cache.append(layer, k, v, rows);
  const out = cache.attend(q, layer, rows);
  disposeTree([q, k, v, rows]);
  return out;
}

/** Full causal attention's rows `from`..`to`. */
function expectedRows<Layer extends AnyLayer>(
  { window }: CacheUnderTest<Layer>,
  seq: Sequence,
  [from, to]: readonly [number, number],
): Tensor {
  const mask = window === undefined ? causal() : allOf(causal(), slidingWindow(window));
  const whole = attention(seq.q, seq.k, seq.v, { mask });
  const part = whole.narrow(2, from, to);
  whole.dispose();
  return part;
}

function compare(near: Near, actual: Tensor, expected: Tensor): void {
  near(actual, expected);
  disposeTree([actual, expected]);
}

function checkSteps<Layer extends AnyLayer>(
  { device, cache, near }: Trial<Layer>,
  { lengths, group }: { readonly lengths: readonly number[]; readonly group: number },
): void {
  const layer = createLayer(device, cache);
  const length = lengths.reduce((sum, n) => sum + n, 0);
  const seq = sequence(device, cache, { slot: 2, length, group, seed: 10 });
  let from = 0;
  for (const count of lengths) {
    const to = from + count;
    compare(near, step(cache, layer, { seq, from, to }), expectedRows(cache, seq, [from, to]));
    from = to;
  }
  disposeTree([layer, tensorsOf(seq)]);
}

/** A batch of rows with T = 1, each a token of some sequence. */
function batchStep<Layer extends AnyLayer>(
  cache: CacheUnderTest<Layer>,
  layer: Layer,
  picks: readonly { readonly seq: Sequence; readonly at: number }[],
): Tensor {
  const gather = (name: "q" | "k" | "v") => {
    const tokens = picks.map(({ seq, at }) => seq[name].narrow(2, at, at + 1));
    const joined = joinRows(tokens);
    disposeTree(tokens);
    return joined;
  };
  const device = picks[0]?.seq.q.device as Device;
  const rows = rowsOf(
    device,
    picks.map(({ seq }) => seq.slot),
    picks.map(({ at }) => at),
  );
  const [q, k, v] = [gather("q"), gather("k"), gather("v")];
  cache.append(layer, k, v, rows);
  const out = cache.attend(q, layer, rows);
  disposeTree([q, k, v, rows]);
  return out;
}

function joinRows(tensors: readonly Tensor[]): Tensor {
  const first = tensors[0] as Tensor;
  const values = tensors.flatMap((x) => Array.from(x.dataSync()));
  const shape = [tensors.length, ...first.shape.slice(1)];
  return tensor(first.device, Float64Array.from(values), { shape, dtype: first.device.defaultFloat });
}

function checkRowsOfOneSlot<Layer extends AnyLayer>({ device, cache, near }: Trial<Layer>): void {
  const layer = createLayer(device, cache);
  const seq = sequence(device, cache, { slot: 1, length: 9, group: 2, seed: 20 });
  step(cache, layer, { seq, from: 0, to: 4 }).dispose();
  const out = batchStep(
    cache,
    layer,
    [4, 5, 6, 7, 8].map((at) => ({ seq, at })),
  );
  const expected = expectedRows(cache, seq, [4, 9]);
  const tokens = [0, 1, 2, 3, 4].map((i) => expected.narrow(2, i, i + 1));
  const perToken = joinRows(tokens);
  near(out, perToken);
  disposeTree([out, expected, tokens, perToken, layer, tensorsOf(seq)]);
}

function checkNeighbours<Layer extends AnyLayer>({ device, cache }: Trial<Layer>): void {
  const lengths = [3, 90, 17];
  const run = (picked: readonly number[]): number[][] => {
    const layer = createLayer(device, cache);
    const sequences = lengths.map((length, slot) =>
      sequence(device, cache, { slot, length: length + 1, group: 2, seed: 30 + 3 * slot }),
    );
    for (const [i, seq] of sequences.entries()) {
      step(cache, layer, { seq, from: 0, to: lengths[i] ?? 0 }).dispose();
    }
    const picks = picked.map((i) => ({ seq: sequences[i] as Sequence, at: lengths[i] ?? 0 }));
    const out = batchStep(cache, layer, picks);
    const values = Array.from(out.dataSync());
    const width = values.length / picked.length;
    disposeTree([out, layer, sequences.map(tensorsOf)]);
    return picked.map((_, row) => values.slice(row * width, (row + 1) * width));
  };
  const [a, b, c] = run([0, 1, 2]);
  expect(run([2, 0, 1])).toEqual([c, a, b]);
  expect(run([1])).toEqual([b]);
}

function checkReuse<Layer extends AnyLayer>({ device, cache, near }: Trial<Layer>): void {
  const layer = createLayer(device, cache);
  const old = sequence(device, cache, { slot: 3, length: 50, group: 1, seed: 40 });
  const seq = sequence(device, cache, { slot: 3, length: 6, group: 1, seed: 50 });
  step(cache, layer, { seq: old, from: 0, to: 50 }).dispose();
  compare(near, step(cache, layer, { seq, from: 0, to: 5 }), expectedRows(cache, seq, [0, 5]));
  compare(near, step(cache, layer, { seq, from: 5, to: 6 }), expectedRows(cache, seq, [5, 6]));
  disposeTree([layer, tensorsOf(old), tensorsOf(seq)]);
}

function checkCrop<Layer extends AnyLayer>({ device, cache, near }: Trial<Layer>): void {
  const layer = createLayer(device, cache);
  const seq = sequence(device, cache, { slot: 1, length: 130, group: 2, seed: 70 });
  const detour = sequence(device, cache, { slot: 1, length: 170, group: 2, seed: 80 });
  const crop = (range: CropRange) => cropSlot(cacheOf(cache, layer), 1, range);
  // Lengths that end inside, at and behind the ends of pages, groups and rings.
  let from = 0;
  for (const [to, aside] of [
    [41, 9],
    [64, 1],
    [71, 80],
    [120, 40],
  ] as const) {
    compare(near, step(cache, layer, { seq, from, to }), expectedRows(cache, seq, [from, to]));
    step(cache, layer, { seq: detour, from: to, to: to + aside }).dispose();
    crop({ from: to + aside, to });
    from = to;
  }
  compare(near, step(cache, layer, { seq, from, to: 130 }), expectedRows(cache, seq, [from, 130]));
  disposeTree([layer, tensorsOf(seq), tensorsOf(detour)]);
}

async function checkSaved<Layer extends AnyLayer>({ device, cache, near }: Trial<Layer>): Promise<void> {
  const [layer, other] = [0, 1].map(() => createLayer(device, cache)) as [Layer, Layer];
  const seq = sequence(device, cache, { slot: 2, length: 60, group: 2, seed: 90 });
  step(cache, layer, { seq, from: 0, to: 45 }).dispose();
  const saved = await saveSlot(cacheOf(cache, layer), 2, 45);
  restoreSlot(cacheOf(cache, other), 1, saved);
  const moved = { ...seq, slot: 1 };
  compare(near, step(cache, other, { seq: moved, from: 45, to: 60 }), expectedRows(cache, seq, [45, 60]));
  disposeTree([layer, other, tensorsOf(seq)]);
}

function checkReorder<Layer extends AnyLayer>({ device, cache, near }: Trial<Layer>): void {
  const layer = createLayer(device, cache);
  const sequences = [0, 1, 2, 3].map((slot) =>
    sequence(device, cache, { slot, length: 40, group: 1, seed: 100 + 3 * slot }),
  );
  for (const seq of sequences) step(cache, layer, { seq, from: 0, to: 30 }).dispose();
  const order = [2, 0, 0, 3];
  reorderSlots(cacheOf(cache, layer), order);
  for (const [slot, source] of order.entries()) {
    const seq = { ...(sequences[source] as Sequence), slot };
    compare(near, step(cache, layer, { seq, from: 30, to: 40 }), expectedRows(cache, seq, [30, 40]));
  }
  disposeTree([layer, sequences.map(tensorsOf)]);
}

function checkOutside<Layer extends AnyLayer>({ device, cache }: Trial<Layer>): void {
  const layer = createLayer(device, cache);
  const { numSlots, maxSeqLen } = sizesOf(cache, device);
  const seq = sequence(device, cache, { slot: 0, length: 2, group: 1, seed: 60 });
  const endless = cache.window !== undefined;
  const outside: readonly (readonly [number, number])[] = [
    [numSlots, 0],
    [-1, 0],
    [0, -1],
    ...(endless ? [] : [[0, maxSeqLen - 1] as const]),
  ];
  for (const [slot, start] of outside) {
    const rows = rowsOf(device, [slot], [start]);
    cache.append(layer, seq.k, seq.v, rows);
    const out = cache.attend(seq.q, layer, rows);
    expect(out.dataSync().every((value) => value === 0)).toBe(true);
    disposeTree([out, rows]);
  }
  const rows = rowsOf(device, [0], [0]);
  const nothing = cache.attend(seq.q, layer, rows);
  expect(nothing.dataSync().every((value) => value === 0)).toBe(true); // only zeros are stored
  disposeTree([layer, rows, nothing, tensorsOf(seq)]);
}
