// Times attention on the GPU device, with PyTorch's scaled_dot_product_attention on the same card in the same call where
// python3 has it: `attention [half|fast] [tiny] [tunings] [NAME ...]`. Each line is the median of several rounds after the card has warmed up; caches
// take turns so that they do not stay in the card's own. Some rows of every result are compared with sums in float64 first. `tiny`
// takes lengths of a 32nd, to try the program.
import { execFileSync } from "node:child_process";

import {
  allOf,
  appendKv,
  attention,
  attentionWithLse,
  cachedAttention,
  causal,
  createKvCache,
  createPagedKvCache,
  documentIds,
  documents,
  type KvLayer,
} from "@heddle/attention";
import type { WebGpuDevice } from "@heddle/gpu";
import { compile, defineOp, disposeTree, type HostData, randn, type Tensor, tensor } from "@heddle/tensor";
import type { WgslKernelFactory } from "@heddle/tensor/kernel";
import { cachedAttentionOp } from "../../../packages/attention/src/cached-attention.ts";
import type { CachedAttentionParams } from "../../../packages/attention/src/cached-params.ts";
import { flashAttention, flashAttentionBackward } from "../../../packages/attention/src/flash.ts";
import type { FlashParams } from "../../../packages/attention/src/flash-params.ts";
import { cachedAttentionWgsl } from "../../../packages/attention/src/kernels/cached-attention.wgsl.ts";
import type { DecodeTuning } from "../../../packages/attention/src/kernels/decode.wgsl.ts";
import { flashMatrixWgsl } from "../../../packages/attention/src/kernels/flash-matrix.wgsl.ts";
import type { MatrixTile } from "../../../packages/attention/src/kernels/matrix-attention.wgsl.ts";
import { medianSeconds } from "./parts/median.ts";
import { describeDevice, openDevice } from "./parts/open-device.ts";

type Float = "f16" | "f32";

/** What one launch must at least do, and how it is made. */
interface Work {
  readonly name: string;
  readonly bytes: number;
  readonly flops: number;
  /** Sets of inputs that take turns. */
  readonly turns: number;
  prepare(device: WebGpuDevice): Launch;
}

interface Launch {
  readonly input: Tensor;
  run(input: Tensor): readonly Tensor[];
  /** Largest difference of some rows from float64 sums, beside the largest number among them. */
  error(): Promise<number>;
}

const numHeads = 32;
const numKvHeads = 8;
const headDim = 64;
const words = process.argv.slice(2);
const isTiny = words.includes("tiny");
const rounds = isTiny ? 1 : 5;
const warmUpMs = isTiny ? 0 : 700;
const replays = isTiny ? 1 : 6;
const scale = 1 / Math.sqrt(headDim);

/** Median seconds of one launch. */
async function secondsOf(device: WebGpuDevice, launches: readonly Launch[], each: number): Promise<number> {
  const replay = compile((inputs: readonly Tensor[]) =>
    Array.from({ length: each }, () => inputs.flatMap((input, i) => launches[i]?.run(input) ?? [])).flat(),
  );
  const run = () => disposeTree(replay(launches.map(({ input }) => input)) as Tensor[]);
  const seconds = await medianSeconds(device, run, { warmUpMs, rounds, replays });
  replay.dispose();
  return seconds / (each * launches.length);
}

/** Random heads [B, heads, length, D]; of many rows only 64 differ in each head, since they are made on the host. */
function heads(
  device: WebGpuDevice,
  [batch, count, length]: readonly [number, number, number],
  { dtype, seed }: { readonly dtype: Float; readonly seed: number },
): Tensor {
  const some = Math.min(length, 64);
  const block = randn(device, [batch, count, 1, some, headDim], { seed, dtype: "f32" }).cast(dtype);
  return block
    .broadcastTo([batch, count, length / some, some, headDim])
    .reshape([batch, count, length, headDim]);
}

/** Host copies of what a row of attention reads. */
interface HostRows {
  readonly q: HostData;
  readonly k: HostData;
  readonly v: HostData;
  readonly T: number;
  readonly S: number;
}

/** Weights of a query over keys first..last, and its output, in float64. */
function exactRow(
  { q, k, v, T, S }: HostRows,
  { b, h, i, first = 0, last }: { b: number; h: number; i: number; first?: number; last: number },
) {
  const at = ((b * numHeads + h) * T + i) * headDim;
  const base = (b * numKvHeads + Math.floor((h * numKvHeads) / numHeads)) * S;
  const scores = Array.from({ length: last + 1 - first }, (_, n) => {
    let sum = 0;
    for (let c = 0; c < headDim; c++) sum += (q[at + c] ?? 0) * (k[(base + first + n) * headDim + c] ?? 0);
    return sum * scale;
  });
  const most = scores.reduce((a, x) => Math.max(a, x), Number.NEGATIVE_INFINITY);
  const weights = scores.map((score) => Math.exp(score - most));
  const total = weights.reduce((a, x) => a + x, 0);
  const out = new Float64Array(headDim);
  weights.forEach((weight, n) => {
    for (let c = 0; c < headDim; c++) {
      out[c] = (out[c] ?? 0) + (weight / total) * (v[(base + first + n) * headDim + c] ?? 0);
    }
  });
  return { out, weights: weights.map((weight) => weight / total), base };
}

/** Compares rows of [B, H, T, D] with exact ones. */
function worst(got: HostData, offset: number, expected: Float64Array): number {
  const greatest = expected.reduce((a, x) => Math.max(a, Math.abs(x)), 0);
  const size = greatest > 1e-9 ? greatest : 1; // the first query's gradient is nothing but rounding
  return expected.reduce((a, x, c) => {
    const error = Math.abs((got[offset + c] ?? Number.NaN) - x) / size;
    return Number.isNaN(error) ? Number.POSITIVE_INFINITY : Math.max(a, error);
  }, 0);
}

const sampled = (count: number, limit: number) =>
  Array.from({ length: count }, (_, n) => Math.floor((n * 0.6180339887 * limit + 3 * n) % limit));

/** Queries, keys and values of one causal layer, in texts of equal length that do not see each other. */
function prefillWork(length: number, dtype: Float, texts = 1, tile?: MatrixTile): Work {
  const size = dtype === "f16" ? 2 : 4;
  const own = length / texts;
  return {
    name: `prefill ${texts === 1 ? "" : `${texts} texts of `}${own} ${dtype}${tile === undefined ? "" : `, tiles of ${16 * tile.subgroups * tile.strips} x ${tile.keys} by ${tile.subgroups}`}`,
    bytes: (2 * numHeads + 2 * numKvHeads) * length * headDim * size,
    flops: 2 * texts * numHeads * own * (own + 1) * headDim,
    turns: 1,
    prepare(device) {
      const q = heads(device, [1, numHeads, length], { dtype, seed: 1 });
      const k = heads(device, [1, numKvHeads, length], { dtype, seed: 2 });
      const v = heads(device, [1, numKvHeads, length], { dtype, seed: 3 });
      const ids = tensor(device, documentIds(Array.from({ length: texts }, () => own)), {
        shape: [1, length],
      });
      const mask = texts === 1 ? causal() : allOf(causal(), documents(ids));
      const op = tile && { ...flashAttention.spec, kernels: { wgsl: tiledKernel(tile) } };
      const tiled = op === undefined ? undefined : defineOp(op);
      const run = (input: Tensor) =>
        tiled?.apply([input, k, v], causalParams).slice(0, 1) ?? [attention(input, k, v, { mask })];
      return {
        input: q,
        run,
        async error() {
          const [out] = run(q);
          const got = (await out?.data()) ?? [];
          const rows = { q: await q.data(), k: await k.data(), v: await v.data(), T: length, S: length };
          const errors = sampled(24, length).map((i, n) => {
            const h = (n * 7) % numHeads;
            const exact = exactRow(rows, { b: 0, h, i, first: i - (i % own), last: i });
            return worst(got as HostData, (h * length + i) * headDim, exact.out);
          });
          return Math.max(...errors);
        },
      };
    },
  };
}

const causalParams: FlashParams = {
  scale,
  mask: { kind: "band", right: 0 },
  numMaskInputs: 0,
  hasBias: false,
  hasSinks: false,
};

/** The kernel for matrix units with another tile than its own choice. */
function tiledKernel(tile: MatrixTile): WgslKernelFactory<FlashParams> {
  return (call, features) => flashMatrixWgsl(call, features, tile);
}

/** The gradient of a causal layer with respect to queries, keys and values. */
function backwardWork(length: number, dtype: Float): Work {
  const size = dtype === "f16" ? 2 : 4;
  return {
    name: `backward ${length} ${dtype}`,
    bytes: (4 * numHeads + 4 * numKvHeads) * length * headDim * size,
    flops: 5 * numHeads * length * (length + 1) * headDim,
    turns: 1,
    prepare(device) {
      const q = heads(device, [1, numHeads, length], { dtype, seed: 1 });
      const k = heads(device, [1, numKvHeads, length], { dtype, seed: 2 });
      const v = heads(device, [1, numKvHeads, length], { dtype, seed: 3 });
      const dOut = heads(device, [1, numHeads, length], { dtype, seed: 4 });
      const { out, lse } = attentionWithLse(q, k, v, { mask: causal() });
      const delta = dOut.cast("f32").mul(out.cast("f32")).sum({ axes: 3 });
      const params = { ...causalParams, wantsBias: false };
      const run = (input: Tensor) => flashAttentionBackward.apply([input, k, v, lse, delta, dOut], params);
      return {
        input: q,
        run,
        async error() {
          const [dQuery, dKey, dValue] = await Promise.all(run(q).map((x) => x.data()));
          const rows = { q: await q.data(), k: await k.data(), v: await v.data(), T: length, S: length };
          const g = await dOut.data();
          const exact = exactGradients(rows, g, { lse: await lse.data(), delta: await delta.data() });
          const errors = sampled(12, length).flatMap((i, n) => {
            const h = (n * 7) % numHeads;
            const kvHead = n % numKvHeads;
            const { dK, dV } = exact.ofKey(kvHead, i);
            const at = (kvHead * length + i) * headDim;
            return [
              worst(dQuery as HostData, (h * length + i) * headDim, exact.ofQuery(h, i)),
              worst(dKey as HostData, at, dK),
              worst(dValue as HostData, at, dV),
            ];
          });
          return Math.max(...errors);
        },
      };
    },
  };
}

/** Gradients of single rows, in float64. */
function exactGradients(
  rows: HostRows,
  g: HostData,
  { lse, delta }: { readonly lse: HostData; readonly delta: HostData },
) {
  const { q, k, v, T } = rows;
  const dot = (a: HostData, at: number, b: HostData, from: number) => {
    let sum = 0;
    for (let c = 0; c < headDim; c++) sum += (a[at + c] ?? 0) * (b[from + c] ?? 0);
    return sum;
  };
  return {
    ofQuery(h: number, i: number): Float64Array {
      const { weights, base, out } = exactRow(rows, { b: 0, h, i, last: i });
      const at = (h * T + i) * headDim;
      let own = 0;
      for (let c = 0; c < headDim; c++) own += (g[at + c] ?? 0) * (out[c] ?? 0);
      const result = new Float64Array(headDim);
      weights.forEach((weight, j) => {
        const slope = weight * (dot(g, at, v, (base + j) * headDim) - own) * scale;
        for (let c = 0; c < headDim; c++) {
          result[c] = (result[c] ?? 0) + slope * (k[(base + j) * headDim + c] ?? 0);
        }
      });
      return result;
    },
    ofKey(kvHead: number, j: number): { dK: Float64Array; dV: Float64Array } {
      const [dK, dV] = [new Float64Array(headDim), new Float64Array(headDim)];
      const group = numHeads / numKvHeads;
      const keyAt = (kvHead * T + j) * headDim;
      for (let h = kvHead * group; h < (kvHead + 1) * group; h++) {
        for (let i = j; i < T; i++) {
          const row = h * T + i;
          const weight = Math.exp(dot(q, row * headDim, k, keyAt) * scale - (lse[row] ?? 0));
          const slope = weight * (dot(g, row * headDim, v, keyAt) - (delta[row] ?? 0)) * scale;
          for (let c = 0; c < headDim; c++) {
            dK[c] = (dK[c] ?? 0) + slope * (q[row * headDim + c] ?? 0);
            dV[c] = (dV[c] ?? 0) + weight * (g[row * headDim + c] ?? 0);
          }
        }
      }
      return { dK, dV };
    },
  };
}

/** One new token of each sequence over `length` cached ones. */
function decodeWork(
  { batch, length, dtype = "f16" }: { batch: number; length: number; dtype?: Float },
  kind: "contiguous" | "paged" = "contiguous",
  tuning?: CachedTuning,
): Work {
  const bytes = batch * 2 * numKvHeads * length * headDim * (dtype === "f16" ? 2 : 4);
  return {
    name: `decode ${batch} x ${length} ${dtype}${kind === "paged" ? " paged" : ""}${tuningName(tuning)}`,
    bytes,
    flops: 4 * batch * numHeads * length * headDim,
    turns: Math.min(8, Math.max(1, Math.ceil(2 ** 27 / bytes))),
    prepare(device) {
      const q = heads(device, [batch, numHeads, 1], { dtype: "f32", seed: 1 });
      const slots = tensor(
        device,
        Int32Array.from({ length: batch }, (_, b) => b),
      );
      const k = heads(device, [batch, numKvHeads, length], { dtype, seed: 2 });
      const v = heads(device, [batch, numKvHeads, length], { dtype, seed: 3 });
      const layer = cacheLayer(device, { batch, length, dtype }, kind);
      using zeros = tensor(device, new Int32Array(batch));
      appendKv(layer, k, v, { slots, starts: zeros });
      const starts = tensor(device, new Int32Array(batch).fill(length - 1));
      const run = (input: Tensor) => [attendCached(input, layer, { slots, starts }, tuning)];
      return {
        input: q,
        run,
        async error() {
          const got = (await run(q)[0]?.data()) ?? [];
          const rows = { q: await q.data(), k: await k.data(), v: await v.data(), T: 1, S: length };
          const errors = sampled(8, batch * numHeads).map((row) => {
            const [b, h] = [Math.floor(row / numHeads), row % numHeads];
            return worst(
              got as HostData,
              row * headDim,
              exactRow(rows, { b, h, i: 0, last: length - 1 }).out,
            );
          });
          return Math.max(...errors);
        },
      };
    },
  };
}

/** How the kernels of cached attention share their work, where it is not their own choice. */
interface CachedTuning {
  readonly tile?: MatrixTile;
  readonly decode?: DecodeTuning;
}

const tuningName = (tuning: CachedTuning | undefined) =>
  tuning === undefined ? "" : ` ${JSON.stringify(tuning).replaceAll('"', "")}`;

/** Attention over a contiguous or paged cache, by its own kernel or by one that is tuned. */
function attendCached(
  query: Tensor,
  layer: KvLayer,
  at: { readonly slots: Tensor; readonly starts: Tensor },
  tuning: CachedTuning | undefined,
): Tensor {
  if (tuning === undefined || layer.kind === "quantised") return cachedAttention(query, layer, at);
  const op = defineOp({
    ...cachedAttentionOp.spec,
    kernels: { wgsl: (call, features) => cachedAttentionWgsl(call, features, tuning) },
  });
  const params: CachedAttentionParams = {
    placement: "contiguous",
    scale,
    isCausal: true,
    inputs: ["query", "key", "value", "slots", "starts"],
  };
  return op.call([query, layer.key, layer.value, at.slots, at.starts], params);
}

/** A prompt as decoders read it: one row a token, all of one slot, behind their keys in the cache. */
function promptWork(length: number, dtype: Float, queries: Float, tuning?: CachedTuning): Work {
  return {
    name: `prompt ${length} ${dtype}${queries === dtype ? "" : `, ${queries} queries`}${tuningName(tuning)}`,
    bytes: 2 * (numHeads + numKvHeads) * length * headDim * (dtype === "f16" ? 2 : 4),
    flops: 2 * numHeads * length * (length + 1) * headDim,
    turns: 1,
    prepare(device) {
      const q = heads(device, [1, length, numHeads], { dtype: queries, seed: 1 }).reshape([
        length,
        numHeads,
        1,
        headDim,
      ]);
      const k = heads(device, [1, numKvHeads, length], { dtype, seed: 2 });
      const v = heads(device, [1, numKvHeads, length], { dtype, seed: 3 });
      const layer = cacheLayer(device, { batch: 1, length, dtype }, "contiguous");
      const first = tensor(device, new Int32Array(1));
      appendKv(layer, k, v, { slots: first, starts: first });
      const slots = tensor(device, new Int32Array(length));
      const starts = tensor(
        device,
        Int32Array.from({ length }, (_, i) => i),
      );
      const run = (input: Tensor) => [attendCached(input, layer, { slots, starts }, tuning)];
      return {
        input: q,
        run,
        async error() {
          const got = (await run(q)[0]?.data()) ?? [];
          const [queries, keys, values] = [await q.data(), await k.data(), await v.data()];
          const errors = sampled(16, length).map((i, n) => {
            const h = (n * 7) % numHeads;
            // Row i as the only query of head h.
            const own = new Float64Array(numHeads * headDim);
            for (let c = 0; c < headDim; c++)
              own[h * headDim + c] = queries[(i * numHeads + h) * headDim + c] ?? 0;
            const rows = { q: own, k: keys, v: values, T: 1, S: length };
            return worst(
              got as HostData,
              (i * numHeads + h) * headDim,
              exactRow(rows, { b: 0, h, i: 0, last: i }).out,
            );
          });
          return Math.max(...errors);
        },
      };
    },
  };
}

function cacheLayer(
  device: WebGpuDevice,
  { batch, length, dtype }: { batch: number; length: number; dtype: Float },
  kind: "contiguous" | "paged",
): KvLayer {
  const sizes = { numLayers: 1, numSlots: batch, maxSeqLen: length, numKvHeads, headDim, dtype };
  if (kind === "contiguous") return createKvCache(device, sizes).layers[0] as KvLayer;
  const made = createPagedKvCache(device, { ...sizes, pageSize: 16, numPages: (batch * length) / 16 });
  // Pages of different slots lie between each other, as they do after a while of serving.
  for (let from = 0; from < length; from += 16) {
    for (let slot = 0; slot < batch; slot++) made.pages.reserve(slot, { from, to: from + 16 });
  }
  for (let slot = 0; slot < batch; slot++) made.crop(slot, length);
  return made.cache.layers[0] as KvLayer;
}

const [short, middle, long] = [2048, 8192, 32_768].map((length) => (isTiny ? length / 32 : length)) as [
  number,
  number,
  number,
];
const context = 2 * short;
const works: readonly Work[] = [
  decodeWork({ batch: 1, length: context }),
  decodeWork({ batch: 1, length: long }),
  decodeWork({ batch: 8, length: context }),
  decodeWork({ batch: 32, length: context }),
  decodeWork({ batch: 1, length: context, dtype: "f32" }),
  decodeWork({ batch: 1, length: context }, "paged"),
  decodeWork({ batch: 8, length: context }, "paged"),
  promptWork(short, "f16", "f16"),
  promptWork(short, "f16", "f32"),
  prefillWork(short, "f16"),
  prefillWork(middle, "f16"),
  prefillWork(middle, "f16", 4),
  prefillWork(short, "f32"),
  prefillWork(middle, "f32"),
  backwardWork(short, "f16"),
  backwardWork(short, "f32"),
  backwardWork(middle, "f16"),
];

const tiles: readonly MatrixTile[] = [
  { subgroups: 4, strips: 2, keys: 32 },
  { subgroups: 4, strips: 2, keys: 64 },
  { subgroups: 2, strips: 2, keys: 32 },
  { subgroups: 8, strips: 2, keys: 32 },
  { subgroups: 4, strips: 1, keys: 64 },
];
const decodeTunings: readonly DecodeTuning[] = [
  { heads: 4, ahead: 4 },
  { heads: 4, ahead: 2 },
  { heads: 2, ahead: 4 },
  { heads: 2, ahead: 2 },
  { heads: 1, ahead: 4 },
];
/** Ways to share the work: with `tunings` as a word, in place of the others. */
const tuned: readonly Work[] = [
  ...tiles.map((tile) => promptWork(short, "f16", "f16", { tile })),
  ...tiles.map((tile) => prefillWork(middle, "f16", 1, tile)),
  ...decodeTunings.map((decode) => decodeWork({ batch: 1, length: 256 }, "contiguous", { decode })),
  ...[{ threads: 512 }, { threads: 128 }, { threads: 512, heads: 1 }].map((decode) =>
    decodeWork({ batch: 1, length: 256 }, "contiguous", { decode }),
  ),
  ...decodeTunings.map((decode) => decodeWork({ batch: 32, length: 256 }, "contiguous", { decode })),
  ...decodeTunings.map((decode) => decodeWork({ batch: 1, length: context }, "contiguous", { decode })),
  ...[{ splits: 16 }, { splits: 64 }, { threads: 256, splits: 16 }].map((decode) =>
    decodeWork({ batch: 1, length: context }, "contiguous", { decode }),
  ),
  ...decodeTunings.map((decode) => decodeWork({ batch: 8, length: context }, "contiguous", { decode })),
];

/** Seconds of PyTorch for the same works, by name; none where there is no PyTorch. */
function torchSeconds(names: readonly string[]): ReadonlyMap<string, number> {
  try {
    const file = `${import.meta.dirname}/attention-torch.py`;
    const text = execFileSync("python3", [file, JSON.stringify(names)], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "inherit"],
    });
    const { version, seconds } = JSON.parse(text) as { version: string; seconds: Record<string, number> };
    console.log(`PyTorch ${version}`);
    return new Map(Object.entries(seconds));
  } catch (error) {
    console.log(`no PyTorch beside it: ${error instanceof Error ? error.message.split("\n")[0] : error}`);
    return new Map();
  }
}

const wanted = words.filter((word) => !["fast", "half", "tiny", "tunings"].includes(word));
const all = words.includes("tunings") ? tuned : works;
const chosen = all.filter(({ name }) => wanted.length === 0 || wanted.some((word) => name.includes(word)));
const peer = words.includes("tunings")
  ? new Map<string, number>()
  : torchSeconds(chosen.map(({ name }) => name));
const device = await openDevice(words);
console.log(describeDevice(device));
for (const work of chosen) {
  const began = performance.now();
  try {
    const turns = isTiny ? 1 : words.includes("tunings") ? Math.min(2, work.turns) : work.turns;
    const launches = Array.from({ length: turns }, () => work.prepare(device));
    const error = (await launches[0]?.error()) ?? Number.NaN;
    const perReplay = isTiny ? 1 : work.flops > 1e10 ? 4 : Math.max(1, Math.round(24 / launches.length));
    const seconds = await secondsOf(device, launches, perReplay);
    const other = peer.get(work.name);
    const figures = [
      `${(seconds * 1e6).toFixed(1).padStart(9)} us`,
      `${(work.bytes / seconds / 1e9).toFixed(0).padStart(6)} GB/s`,
      `${(work.flops / seconds / 1e12).toFixed(2).padStart(8)} TFLOP/s`,
      `error ${error.toExponential(1)}`,
      `${((performance.now() - began) / 1000).toFixed(1)} s`,
      other === undefined
        ? ""
        : `PyTorch ${(other * 1e6).toFixed(1)} us, ${(seconds / other).toFixed(2)} of its time`,
    ];
    console.log(`${work.name.padEnd(28)} ${figures.join("  ")}`);
  } catch (error) {
    console.log(`${work.name.padEnd(28)} failed: ${error instanceof Error ? error.message : error}`);
  }
  device.trim();
}
device.dispose();
