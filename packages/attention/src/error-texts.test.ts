import { randn, reference, tensor, zeros } from "@heddle/tensor";
import { expect, test } from "vitest";
import { attention } from "./attention.js";
import { cachedAttention, crossAttention } from "./cached-attention.js";
import { copyBlocks } from "./copy-blocks.js";
import { cropSlot } from "./crop-slot.js";
import { attentionWeights } from "./dense-attention.js";
import { appendKv, createKvCache } from "./kv-cache.js";
import type { KvLayer } from "./kv-layer.js";
import {
  anyOf,
  blockSparse,
  chunked,
  columns,
  documentIds,
  documents,
  type Mask,
  padding,
  slidingWindow,
  tensorMask,
} from "./masks.js";
import { createPagedKvCache } from "./paged-cache.js";
import { createQuantisedKvCache } from "./quantised-cache.js";
import { createSlidingKvCache } from "./sliding-cache.js";

const device = reference();
const x = (shape: readonly number[]) => randn(device, shape, { seed: 1 });
const q = x([2, 4, 5, 8]);
const k = x([2, 2, 3, 8]);
const attend = (mask: Mask) => attention(q, k, k, { mask });

test("masks that do not fit say what would", () => {
  expect(() => attend(tensorMask(zeros(device, [5, 3])))).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: tensorMask: mask must be [batch or 1, heads or 1, queries, keys]; got mask [5, 3]. Reshape it: 1 where it is the same for all.]`,
  );
  expect(() => attend(tensorMask(zeros(device, [2, 3, 5, 3])))).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: attention: mask must be [2 or 1, 4 or 1, 5, 3]; got mask [2, 3, 5, 3]. Reshape it, or broadcast it over the missing axes.]`,
  );
  expect(() => attend(padding(zeros(device, [2, 5])))).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: attention: keyMask must be [2, 3]; got keyMask [2, 5]. Reshape it, or broadcast it over the missing axes.]`,
  );
  expect(() =>
    attend(documents(tensor(device, new Int32Array(6), { shape: [2, 3] }))),
  ).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: attention: documents need queries that are the last of the keys; got 5 queries, 3 keys. Compare ids of two sequences with tensorMask.]`,
  );
  expect(() =>
    attention(k, k, k, { mask: documents(zeros(device, [2, 3])) }),
  ).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: attention: document ids must be i32; got document ids of f64. Create them from an Int32Array.]`,
  );
  expect(() => blockSparse(zeros(device, [4]), { blockSize: 16 })).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: blockSparse: layout must be [query blocks, key blocks] or [heads, query blocks, key blocks]; got layout [4]. Reshape it.]`,
  );
  expect(() =>
    attend(blockSparse(zeros(device, [2, 2]), { blockSize: 16 })),
  ).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: attention: layout must be [1, 1]; got layout [2, 2]. Reshape it, or broadcast it over the missing axes.]`,
  );
});

test("masks without meaning are refused when they are made", () => {
  expect(() => slidingWindow(0)).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: slidingWindow: size must be a whole number above 0, because a query sees at least itself; got size 0. Leave the mask out to see everything.]`,
  );
  expect(() => chunked(0)).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: chunked: size must be a whole number above 0; got size 0. Leave the mask out to see everything.]`,
  );
  expect(() => columns(4, 5)).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: columns: count must not exceed stride; got count 5, stride 4. With count = stride every key is seen: leave the mask out.]`,
  );
  expect(() => anyOf()).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: anyOf: at least one mask is needed; got 0 masks. Pass the masks, or allOf() to see everything.]`,
  );
  expect(() => documentIds([3, 4], { total: 6 })).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: documentIds: documents must fit into the row; got 7 tokens, total 6. Leave a document to another row.]`,
  );
});

test("heads that do not divide, and shapes that do not meet", () => {
  expect(() => attention(q, x([2, 3, 3, 8]), x([2, 3, 3, 8]))).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: attention: query heads must be a multiple of kv heads; got query [2, 4, 5, 8], key [2, 3, 3, 8], value [2, 3, 3, 8]. Set numKvHeads to 1, 2, 4.]`,
  );
  expect(() => attention(q, x([2, 2, 3, 6]), k)).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: attention: query and key must have one headDim; got query [2, 4, 5, 8], key [2, 2, 3, 6], value [2, 2, 3, 8]. Project both to the same size.]`,
  );
  expect(() => attention(q, k, x([2, 2, 4, 8]))).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: attention: key and value must have the same heads and length; got query [2, 4, 5, 8], key [2, 2, 3, 8], value [2, 2, 4, 8]. Pass the value of every key.]`,
  );
  expect(() => attention(x([4, 5, 8]), k, k)).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: attention: query, key and value must be [batch, heads, seq, headDim]; got query [4, 5, 8], key [2, 2, 3, 8], value [2, 2, 3, 8]. Reshape each to four axes.]`,
  );
  expect(() => attention(q, k, k, { bias: zeros(device, [4, 5, 3]) })).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: attention: bias must be [2 or 1, 4 or 1, 5, 3]; got bias [4, 5, 3]. Reshape it, or broadcast it over the missing axes.]`,
  );
  expect(() => attention(q, k, k, { sinks: zeros(device, [3]) })).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: attention: sinks must be [4]; got sinks [3]. Reshape it, or broadcast it over the missing axes.]`,
  );
});

test("what a kind of cache cannot do", () => {
  const sizes = { numLayers: 1, numSlots: 2, numKvHeads: 2, headDim: 8 };
  const sliding = createSlidingKvCache(device, { ...sizes, window: 4, maxNewTokens: 3 });
  const layer = sliding.layers[0] as KvLayer;
  const rows = { slots: tensor(device, Int32Array.of(0)), starts: tensor(device, Int32Array.of(0)) };
  const one = x([1, 4, 1, 8]);
  expect(() =>
    crossAttention(one, layer, { slots: rows.slots, lengths: rows.starts }),
  ).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: crossAttention: the cache must keep all keys; got a sliding cache. Use createKvCache or createPagedKvCache.]`,
  );
  expect(() =>
    cachedAttention(one, layer, { ...rows, bias: zeros(device, [1, 1, 1, 6]) }),
  ).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: cachedAttention: a bias by key position needs a cache that keeps all positions; got a sliding cache. Use distanceBias.]`,
  );
  expect(() => cropSlot(sliding, 0, { from: 20, to: 10 })).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: cropSlot: a sliding cache can take back maxNewTokens - 1 tokens; got 10 of 2, window 4. Create it with more maxNewTokens, or read the text again.]`,
  );
  expect(() => cropSlot(sliding, 0, { from: 3, to: 4 })).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: cropSlot: a slot keeps its first tokens, 0 <= to <= from; got from 3, to 4. Give its length as from, what it keeps as to.]`,
  );
  const paged = createPagedKvCache(device, { ...sizes, numPages: 2, pageSize: 4, maxSeqLen: 16 });
  expect(() => paged.reserve(0, { from: 0, to: 12 })).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: pageTable: a page must be free for each new one; got slot 0 in want of 3, 2 of 2 free. Crop or release another slot, or create the cache with more pages.]`,
  );
  expect(() => paged.reserve(0, { from: 10, to: 17 })).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: pageTable: positions must lie in 0..maxSeqLen; got slot 0, positions 10..17 of 16. Stop or shorten the sequence, or create a larger cache.]`,
  );
  const contiguous = createKvCache(device, { ...sizes, maxSeqLen: 4 }).layers[0] as KvLayer;
  expect(() =>
    appendKv(contiguous, x([1, 2, 5, 8]), x([1, 2, 5, 8]), rows),
  ).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: appendKv: key must be [batch, 2, length <= 4, 8] to fit the cache; got key [1, 2, 5, 8]. Create the cache with the model's numKvHeads and headDim.]`,
  );
  expect(() => cachedAttention(x([1, 3, 1, 8]), contiguous, rows)).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: cachedAttention: query must be [batch, heads, seq, 8] with heads a multiple of 2; got query [1, 3, 1, 8], cached key [2, 2, 4, 8]. Create the cache with the model's numKvHeads and headDim.]`,
  );
  expect(() => cachedAttention(one, contiguous, { ...rows, window: 0 })).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: cachedAttention: window must be a whole number above 0; got window 0. Leave it out to see everything.]`,
  );
});

test("scores and rows that do not fit a cache", () => {
  const sizes = { numLayers: 1, numSlots: 2, numKvHeads: 2, headDim: 8, maxSeqLen: 16 };
  const layer = createKvCache(device, sizes).layers[0] as KvLayer;
  const rows = { slots: tensor(device, Int32Array.of(0)), starts: tensor(device, Int32Array.of(0)) };
  const one = x([1, 4, 1, 8]);
  expect(() =>
    cachedAttention(one, layer, { ...rows, scale: Number.NaN }),
  ).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: cachedAttention: scale must be a finite number; got scale NaN. Leave it out for the default.]`,
  );
  expect(() => cachedAttention(one, layer, { ...rows, softcap: -1 })).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: cachedAttention: softcap must be a finite number above 0; got softcap -1. Leave it out for the default.]`,
  );
  expect(() => cachedAttention(one, layer, { ...rows, chunk: 1.5 })).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: cachedAttention: chunk must be a whole number above 0; got chunk 1.5. Leave it out to see everything.]`,
  );
  expect(() =>
    cachedAttention(one, layer, { ...rows, bias: x([4, 1, 16]) }),
  ).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: cachedAttention: bias must be [1, 4 or 1, 1, 16]; got bias [4, 1, 16]. Reshape it, or broadcast it over the missing axes.]`,
  );
  expect(() =>
    cachedAttention(one, layer, { ...rows, distanceBias: x([4, 15]) }),
  ).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: cachedAttention: distanceBias must be [4 or 1, at least 16]; got distanceBias [4, 15]. Reshape it, or broadcast it over the missing axes.]`,
  );
  expect(() => cachedAttention(one, layer, { ...rows, sinks: x([2]) })).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: cachedAttention: sinks must be [4]; got sinks [2]. Reshape it, or broadcast it over the missing axes.]`,
  );
  const rounded = { ...sizes, bits: 8, group: 4, maxNewTokens: 2 } as const;
  const quantised = createQuantisedKvCache(device, rounded).layers[0] as KvLayer;
  const long = x([1, 2, 9, 8]);
  expect(() => appendKv(quantised, long, long, rows)).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: appendKv: key must be [batch, 2, length <= 8, 8] to fit the cache; got key f64[1, 2, 9, 8]. Create the cache with the model's sizes and maxNewTokens.]`,
  );
  expect(() => createQuantisedKvCache(device, { ...rounded, group: 0 })).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: createQuantisedKvCache: group must be a whole number above 0; got group 0. Take it from the model's config.]`,
  );
  const lists = { from: rows.slots, to: tensor(device, Int32Array.of(0, 1)) };
  expect(() => copyBlocks(layer.key, lists)).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: copyBlocks: from and to must be i32 lists of one length; got from [1], to [2]. Name one target for each source.]`,
  );
});

test("kinds over whole matrices refuse rows of another length", () => {
  expect(() => attentionWeights(q, k, { distanceBias: x([4, 8]) })).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: attention: distanceBias must be [4 or 1, 7]; got distanceBias [4, 8]. Reshape it, or broadcast it over the missing axes.]`,
  );
});
