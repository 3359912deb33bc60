// Times single kernels of the GPU device beside the card's limits: `kernels [half|fast] [NAME ...]`. Each line is the median
// of several rounds after the card has warmed up; a round replays a plan of many launches, over weights that take turns so
// that they do not stay in its cache, behind other work, and waits once. Products are compared with sums in float64 at some places first.
import type { WebGpuDevice } from "@heddle/gpu";
import { type QuantLayout, QuantStack, type QuantTensor } from "@heddle/quant";
import {
  compile,
  type DType,
  defineOp,
  type HostData,
  linear,
  matmul,
  randn,
  type Tensor,
  tensor,
} from "@heddle/tensor";

import { productWgsl } from "@heddle/tensor/kernel";
import { expertLinear } from "../../../packages/models/src/experts/expert-linear.ts";
import { type QuantTuning, quantProduct } from "../../../packages/quant/src/kernels/quant-product.wgsl.ts";
import { type DenseTuning, denseProduct } from "../../../packages/tensor/src/wgsl/product/dense.ts";
import { copyRate } from "./parts/copy-rate.ts";
import { medianSeconds } from "./parts/median.ts";
import { describeDevice, openDevice } from "./parts/open-device.ts";
import { fileLayout, randomQuant } from "./parts/random-quant.ts";

/** Bytes and operations that a launch must at least do. */
interface Work {
  readonly name: string;
  readonly bytes: number;
  readonly flops: number;
  /** Bytes that a launch reads and that could stay in the card's cache. */
  readonly weightBytes: number;
  /** Makes the tensors and returns one launch; weights that take turns are numbered. */
  prepare(device: WebGpuDevice, turn: number): Launch;
}

interface Launch {
  readonly input: Tensor;
  run(input: Tensor): Tensor;
  /** For products: x [M, K] and w [N, K] as run() sees them, or a stack [X, N, K] of which row m meets matrix `choices[m]`. */
  operands?(): Promise<{
    readonly x: HostData;
    readonly w: HostData;
    readonly K: number;
    readonly N: number;
    readonly choices?: Int32Array;
  }>;
}

const rounds = 7;
const warmUpMs = 700;
/** Replays of a round; more of short launches, whose sum has to stand out from the head start's noise. */
const replaysOf = ({ flops }: Work) => (flops < 1e9 ? 40 : 10);
/** Weights that take turns are this many bytes at least: more than any card's cache. */
const turnBytes = 2 ** 28;

/** Median seconds of one launch. */
async function secondsOf(
  device: WebGpuDevice,
  launches: readonly Launch[],
  { replays, headStart }: { readonly replays: number; readonly headStart: () => void },
): Promise<number> {
  const [first] = launches;
  if (first === undefined) return Number.NaN;
  const each = Math.max(1, Math.round(24 / launches.length));
  const replay = compile((inputs: readonly Tensor[]) =>
    Array.from({ length: each }, () => inputs.map((input, i) => launches[i]?.run(input))).flat(),
  );
  // Bound, so that JavaScript takes the least time beside short launches.
  const bound = replay.bind(launches.map(({ input }) => input));
  const seconds = await medianSeconds(device, () => bound.run(), { warmUpMs, rounds, replays, headStart });
  bound.dispose();
  replay.dispose();
  return seconds / (each * launches.length);
}

/** Some 25 ms of work on a fast card. */
function longProducts(device: WebGpuDevice): () => void {
  const x = random(device, [4096, 4096], "f32", 1);
  const replay = compile((first: Tensor) => {
    let y = first;
    for (let i = 0; i < 8; i++) y = matmul(x, y);
    return y;
  });
  const bound = replay.bind(x);
  return () => bound.run();
}

/** Random numbers; of many rows only 64 differ, since they are made on the host. */
function random(device: WebGpuDevice, shape: readonly [number, number], dtype: DType, seed: number): Tensor {
  const [rows, columns] = shape;
  const some = rows % 64 === 0 ? 64 : rows;
  const block = randn(device, [1, some, columns], { seed, dtype: "f32" }).cast(dtype);
  return block.broadcastTo([rows / some, some, columns]).reshape([rows, columns]);
}

/** Largest relative error of 64 sampled outputs of a product. */
async function errorOf({ input, run, operands }: Launch): Promise<number> {
  const found = await operands?.();
  if (found === undefined) return 0;
  const { x, w, K, N, choices } = found;
  using y = run(input);
  const got = await y.data();
  let worst = 0;
  for (let i = 0; i < 64; i++) {
    const at = Math.floor((i * 0.6180339887 * got.length) % got.length);
    const [m, n] = [Math.floor(at / N), at % N];
    const first = ((choices?.[m] ?? 0) * N + n) * K;
    let [sum, size] = [0, 0];
    for (let k = 0; k < K; k++) {
      const term = (x[m * K + k] ?? 0) * (w[first + k] ?? 0);
      sum += term;
      size += Math.abs(term);
    }
    worst = Math.max(worst, Math.abs((got[at] ?? Number.NaN) - sum) / size);
  }
  return worst;
}

/** A launch of x w^T that can be checked. */
function product(x: Tensor, w: Tensor): Launch {
  return {
    input: x,
    run: (input) => matmul(input, w, { transposeB: true }),
    operands: async () => ({ x: await x.data(), w: await w.data(), K: x.shape[1] ?? 0, N: w.shape[0] ?? 0 }),
  };
}

function matvecWork([out, inner]: readonly [number, number], dtype: DType, rows = 1): Work {
  return {
    name: `matvec ${out}x${inner} ${dtype}${rows === 1 ? "" : ` ${rows} rows`}`,
    bytes: out * inner * (dtype === "f32" ? 4 : 2),
    weightBytes: out * inner * (dtype === "f32" ? 4 : 2),
    flops: 2 * out * inner * rows,
    prepare: (device) =>
      product(random(device, [rows, inner], dtype, 1), random(device, [out, inner], dtype, 2)),
  };
}

/** Codes of random bits with scales of 0.01, in groups of 32 as in Q4_0 and Q8_0 files. */
function quantWork(
  [out, inner]: readonly [number, number],
  bits: 4 | 8,
  { rows = 1, tuning }: { readonly rows?: number; readonly tuning?: QuantTuning } = {},
): Work {
  const variant = tuning === undefined ? "" : ` ${JSON.stringify(tuning).replaceAll('"', "")}`;
  const layout = fileLayout(bits, { inFeatures: inner, outFeatures: out });
  return {
    name: `matvec ${out}x${inner} int${bits}${rows === 1 ? "" : ` ${rows} rows`}${variant}`,
    bytes: (out * inner * (bits + 0.5)) / 8,
    weightBytes: (out * inner * (bits + 0.5)) / 8,
    flops: 2 * out * inner * rows,
    prepare(device, turn) {
      const weight = quantWeight(device, layout, turn);
      const x = random(device, [rows, inner], "f32", 2);
      return {
        input: x,
        run: (input) => (tuning === undefined ? linear(input, weight) : tuned(input, weight, tuning)),
        operands: async () => ({ x: await x.data(), w: await weight.dequantize().data(), K: inner, N: out }),
      };
    },
  };
}

/** Rows of which each meets one of 32 matrices of the gpt-oss-20b shape: in 4 bits, or in halves. Turns name other ones. */
function expertWork(rows: number, dtype: "int4" | "f16"): Work {
  const [numMatrices, out, inner] = [32, 2880, 2880];
  const layout = fileLayout(4, { inFeatures: inner, outFeatures: numMatrices * out });
  const bytes = Math.min(rows, numMatrices) * out * inner * (dtype === "int4" ? 4.5 / 8 : 2);
  let dense: Tensor | undefined;
  return {
    name: `experts 32 of ${out}x${inner} ${dtype} ${rows} rows`,
    bytes,
    weightBytes: bytes,
    flops: 2 * rows * out * inner,
    prepare(device, turn) {
      const x = random(device, [rows, inner], "f32", 2);
      const choices = Int32Array.from({ length: rows }, (_, row) => (row * 7 + turn * 4) % numMatrices);
      const which = tensor(device, choices);
      const operands = async (w: HostData) => ({ x: await x.data(), w, K: inner, N: out, choices });
      if (dtype === "int4") {
        const stack = new QuantStack(quantWeight(device, layout, 0), numMatrices);
        return {
          input: x,
          run: (input) => stack.applyEach(input, which),
          operands: async () => operands(await stack.dequantize().data()),
        };
      }
      dense ??= random(device, [numMatrices * out, inner], "f16", 1).reshape([numMatrices, out, inner]);
      const weight = dense;
      return {
        input: x,
        run: (input) => expertLinear(input, { weight }, which),
        operands: async () => operands(await weight.data()),
      };
    },
  };
}

const keptWeights = new Map<string, QuantTensor>();

/** Random codes with scales of 0.01, made once for each turn until another layout comes. */
function quantWeight(device: WebGpuDevice, layout: QuantLayout, turn: number): QuantTensor {
  const key = JSON.stringify(layout);
  const known = keptWeights.get(`${key}${turn}`);
  if (known !== undefined) return known;
  for (const [name, weight] of keptWeights) {
    if (name.startsWith(key)) continue;
    weight.dispose();
    keptWeights.delete(name);
  }
  const weight = randomQuant(device, layout, { scale: 0.01, seed: turn + 1 });
  keptWeights.set(`${key}${turn}`, weight);
  return weight;
}

/** The product by a weight with a kernel that shares its work in a given way. */
function tuned(x: Tensor, { layout, parts }: QuantTensor, tuning: QuantTuning): Tensor {
  const op = defineOp({
    name: `tuned ${JSON.stringify(tuning)}`,
    infer: () => [{ shape: [x.shape[0] ?? 1, layout.outFeatures], dtype: "f32" }],
    kernels: {
      wgsl: productWgsl,
      pieces: { product: (call, features) => quantProduct(layout, call, features, tuning) },
    },
  });
  return op.call([x, ...[parts.codes, parts.scales].filter((part) => part !== undefined)], {});
}

function matmulWork(n: number, dtype: DType): Work {
  return {
    name: `matmul ${n} ${dtype}`,
    bytes: 3 * n * n * (dtype === "f32" ? 4 : 2),
    weightBytes: turnBytes,
    flops: 2 * n ** 3,
    prepare: (device) => product(random(device, [n, n], dtype, 1), random(device, [n, n], dtype, 2)),
  };
}

const weights = [
  [14336, 4096],
  [4096, 4096],
  [2048, 8192],
  [2048, 2048],
  [128256, 2048],
] as const;
const works: readonly Work[] = [
  ...weights.flatMap((shape) => [
    matvecWork(shape, "f32"),
    matvecWork(shape, "f16"),
    quantWork(shape, 8),
    quantWork(shape, 4),
  ]),
  ...[2, 8].flatMap((rows) => [
    matvecWork([14336, 4096], "f16", rows),
    quantWork([14336, 4096], 8, { rows }),
    quantWork([14336, 4096], 4, { rows }),
  ]),
  ...[32, 2048].flatMap((rows) => [
    matvecWork([8192, 2048], "f16", rows),
    quantWork([8192, 2048], 8, { rows }),
    quantWork([8192, 2048], 4, { rows }),
  ]),
  ...[4, 2048].flatMap((rows) => [expertWork(rows, "f16"), expertWork(rows, "int4")]),
  ...[1024, 4096, 8192].map((n) => matmulWork(n, "f16")),
  ...[1024, 4096].map((n) => matmulWork(n, "f32")),
];

/** A product of half floats with a kernel that shares its work in a given way. */
function denseTuned([out, inner]: readonly [number, number], tuning: DenseTuning): Work {
  const plain = matvecWork([out, inner], "f16");
  return {
    ...plain,
    name: `${plain.name} ${JSON.stringify(tuning).replaceAll('"', "")}`,
    prepare(device) {
      const w = random(device, [out, inner], "f16", 2);
      const op = defineOp({
        name: `tuned ${JSON.stringify(tuning)}`,
        infer: () => [{ shape: [1, out], dtype: "f16" }],
        kernels: {
          wgsl: productWgsl,
          pieces: {
            product: () =>
              denseProduct({ M: 1, N: out, K: inner, dtypes: { x: "f16", w: "f16", y: "f16" } }, tuning),
          },
        },
      });
      const launch = product(random(device, [1, inner], "f16", 1), w);
      return { ...launch, run: (input) => op.call([input, w], {}) };
    },
  };
}

/** Ways to share the work of dense products: `tunings` as an argument. */
const denseTunings: readonly Work[] = weights.slice(1, 4).flatMap((shape) =>
  [
    { threads: 256, unitsPerTile: 1 },
    { threads: 256, unitsPerTile: 2 },
    { threads: 128, unitsPerTile: 1 },
    { threads: 128, unitsPerTile: 2 },
    { threads: 512, unitsPerTile: 1 },
  ].map((tuning) => denseTuned(shape, tuning)),
);

/** Ways to share the work of quantised products: `tunings` as an argument. */
const quantTunings: readonly Work[] = ([4, 8] as const).flatMap((bits) =>
  weights.flatMap((shape) =>
    [
      ...[1, 2].flatMap((units) => [
        { threads: 128, units, ahead: 4 },
        { threads: 256, units, ahead: 1 },
        { threads: 256, units, ahead: 2 },
        { threads: 512, units, ahead: 1 },
        { threads: 512, units, ahead: 2 },
        { threads: 1024, units, ahead: 1 },
      ]),
    ].map((tuning) => quantWork(shape, bits, { tuning })),
  ),
);

const words = process.argv.slice(2);
const wanted = words.filter((word) => !["fast", "half", "tunings"].includes(word));
const device = await openDevice(words);
console.log(describeDevice(device));
const limit = await copyRate(device, 2 ** 29);
console.log(`copy: ${(limit / 1e9).toFixed(0)} GB/s read and written`);
const headStart = longProducts(device);
for (const work of words.includes("tunings") ? [...denseTunings, ...quantTunings] : works) {
  if (wanted.length > 0 && !wanted.some((word) => work.name.includes(word))) continue;
  const turns = Math.min(16, Math.ceil(turnBytes / work.weightBytes));
  const launches = Array.from({ length: turns }, (_, turn) => work.prepare(device, turn));
  const error = launches[0] === undefined ? 0 : await errorOf(launches[0]);
  const seconds = await secondsOf(device, launches, { replays: replaysOf(work), headStart });
  const gigabytes = work.bytes / seconds / 1e9;
  const teraflops = work.flops / seconds / 1e12;
  console.log(
    `${work.name.padEnd(28)} ${(seconds * 1e6).toFixed(1).padStart(9)} us  ${gigabytes.toFixed(0).padStart(6)} GB/s ${((100e9 * gigabytes) / limit).toFixed(0).padStart(3)} %  ${teraflops.toFixed(2).padStart(8)} TFLOP/s  error ${error.toExponential(1)}`,
  );
  device.trim();
}
device.dispose();
