/**
 * Attention against the machine's own matrix product, in the same run, taking turns.
 *
 * Run `npm run bench` in this package after a build. One layer of 32 query heads, 8 kv heads, head size 64: forward and
 * backward over 2048 tokens (causal and full), and a decoding step over 4096 cached tokens in GB/s of keys and values read.
 */
import { cpus, loadavg } from "node:os";
import { performance } from "node:perf_hooks";
import {
  type CpuDevice,
  compile,
  cpu,
  disposeTree,
  matmul,
  randn,
  type Tensor,
  tensor,
  valueAndGrad,
} from "@heddle/tensor";
import { attention, cachedAttention, causal, createKvCache, type KvCacheLayer } from "../src/index.js";

const [numHeads, numKvHeads, headDim] = [32, 8, 64];
const rounds = 7;
const length = 2048;

interface Contestant {
  readonly name: string;
  /** GFLOP, or GB where `unit` says so. */
  readonly work: number;
  readonly unit: "GFLOP/s" | "GB/s";
  run(): unknown;
}

function contestants(device: CpuDevice): Contestant[] {
  const q = randn(device, [1, numHeads, length, headDim], { seed: 1 });
  const k = randn(device, [1, numKvHeads, length, headDim], { seed: 2 });
  const v = randn(device, [1, numKvHeads, length, headDim], { seed: 3 });
  const a = randn(device, [1024, 1024], { seed: 4 });
  const forwardWork = (4 * numHeads * length * length * headDim) / 1e9;
  const gradient = (mask: ReturnType<typeof causal> | undefined) =>
    compile((w: { q: Tensor; k: Tensor; v: Tensor }) =>
      valueAndGrad((t: typeof w) => attention(t.q, t.k, t.v, { mask }).sum())(w),
    );
  const both = { causal: gradient(causal()), full: gradient(undefined) };
  const flops = (name: string, work: number, run: () => unknown): Contestant => ({
    name,
    work,
    unit: "GFLOP/s",
    run,
  });
  return [
    flops("f32 matmul 1024", 2 * 1.024 ** 3, () => matmul(a, a)),
    flops("forward, full", forwardWork, () => attention(q, k, v)),
    flops("forward, causal", forwardWork / 2, () => attention(q, k, v, { mask: causal() })),
    flops("forward + backward, full", 3.5 * forwardWork, () => both.full({ q, k, v })),
    flops("forward + backward, causal", 1.75 * forwardWork, () => both.causal({ q, k, v })),
    reading(device, 1),
    decoding(device, 1),
    reading(device, 4),
    decoding(device, 4),
  ];
}

/** Reads as many bytes as a decoding step of `batch` rows: a plain sum, compiled as the step is. */
function reading(device: CpuDevice, batch: number): Contestant {
  const x = randn(device, [batch * 2 * 4096 * numKvHeads * headDim], { seed: 6 });
  const sum = compile((values: Tensor) => values.sum());
  return {
    name: `sum of as many floats, batch ${batch}`,
    work: x.byteLength / 1e9,
    unit: "GB/s",
    run: () => sum(x),
  };
}

/** A decoding step over a full cache of 4096 tokens a slot. */
function decoding(device: CpuDevice, batch: number): Contestant {
  const maxSeqLen = 4096;
  const layer = createKvCache(device, { numLayers: 1, numSlots: batch, maxSeqLen, numKvHeads, headDim })
    .layers[0] as KvCacheLayer;
  const q = randn(device, [batch, numHeads, 1, headDim], { seed: 5 });
  const slots = tensor(
    device,
    Int32Array.from({ length: batch }, (_, i) => i),
  );
  const starts = tensor(device, new Int32Array(batch).fill(maxSeqLen - 1));
  const step = compile((query: Tensor, cached: KvCacheLayer) =>
    cachedAttention(query, cached, { slots, starts }),
  );
  const work = (batch * 2 * maxSeqLen * numKvHeads * headDim * 4) / 1e9;
  return { name: `decode, batch ${batch}, 4096 cached`, work, unit: "GB/s", run: () => step(q, layer) };
}

function milliseconds({ run }: Contestant): number {
  const from = performance.now();
  const result = run();
  const ms = performance.now() - from;
  disposeTree(result);
  return ms;
}

for (const threads of [1, 2]) {
  const device = cpu({ threads });
  const only = process.argv[2];
  const list = contestants(device).filter(({ name }) => only === undefined || name.match(only) !== null);
  const times = list.map(() => [] as number[]);
  for (let round = -2; round < rounds; round++) {
    for (const [i, contestant] of list.entries()) {
      const ms = milliseconds(contestant);
      if (round >= 0) times[i]?.push(ms);
    }
  }
  const speed = list.map(({ work }, i) => {
    const sorted = (times[i] ?? []).sort((x, y) => x - y);
    return work / ((sorted[Math.floor(sorted.length / 2)] ?? Number.NaN) / 1e3);
  });
  const { relaxedSimd, revectorized } = device.features;
  console.log(
    `\n${threads} thread(s), relaxed SIMD ${relaxedSimd}, 256-bit ${revectorized}, load ${loadavg()[0]?.toFixed(2)}, ${cpus()[0]?.model}`,
  );
  for (const [i, { name, unit }] of list.entries()) {
    // What the machine can do: the matrix product, or the sum before a decoding step.
    const product = list.findIndex((each) => each.unit === "GFLOP/s");
    const limit = unit === "GFLOP/s" ? product : name.startsWith("sum") ? i : i - 1;
    const of = list[limit]?.name ?? "";
    const share = ` = ${((100 * (speed[i] ?? 0)) / (speed[limit] ?? 1)).toFixed(0)} % of ${of}`;
    console.log(`${name.padEnd(32)} ${speed[i]?.toFixed(1).padStart(7)} ${unit}${share}`);
  }
  device.dispose();
}
