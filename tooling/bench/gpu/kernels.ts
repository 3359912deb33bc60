// Times single kernels of the GPU device beside the card's limits: `kernels [half|fast] [NAME ...]`. Each line is the median
// of several rounds; a round records many launches and waits once.
import { dawnToggles, type WebGpuDevice, webgpu } from "@heddle/gpu";
import { type DType, matmul, randn, type Tensor, zeros } from "@heddle/tensor";

/** Bytes and operations that a launch must at least do. */
interface Work {
  readonly name: string;
  readonly bytes: number;
  readonly flops: number;
  /** Makes the tensors and returns one launch. */
  prepare(device: WebGpuDevice): () => Tensor;
}

const rounds = 7;

/** Median seconds of one launch. */
async function secondsOf(device: WebGpuDevice, launch: () => Tensor, launches: number): Promise<number> {
  const times: number[] = [];
  for (let round = -2; round < rounds; round++) {
    await device.sync();
    const start = performance.now();
    for (let i = 0; i < launches; i++) launch().dispose();
    await device.sync();
    if (round >= 0) times.push((performance.now() - start) / 1000 / launches);
  }
  return times.sort((a, b) => a - b)[Math.floor(rounds / 2)] ?? Number.NaN;
}

const random = (device: WebGpuDevice, shape: readonly number[], dtype: DType = "f32") => {
  const [rows = 1, ...rest] = shape;
  // One random row, repeated: making a billion random numbers takes longer than the measurement.
  const row = randn(device, [1, ...rest], { seed: 1, dtype: "f32" });
  return row.broadcastTo([rows, ...rest]).cast(dtype);
};

function copyWork(bytes: number): Work {
  return {
    name: `copy ${bytes / 2 ** 20} MiB`,
    bytes: 2 * bytes,
    flops: 0,
    prepare(device) {
      const x = zeros(device, [bytes / 4]);
      return () => x.neg();
    },
  };
}

function matvecWork(out: number, inner: number, dtype: DType): Work {
  return {
    name: `matvec ${out}x${inner} ${dtype}`,
    bytes: out * inner * (dtype === "f32" ? 4 : 2),
    flops: 2 * out * inner,
    prepare(device) {
      const x = random(device, [1, inner]);
      const w = random(device, [out, inner], dtype);
      return () => matmul(x, w, { transposeB: true });
    },
  };
}

function matmulWork(n: number, dtype: DType): Work {
  return {
    name: `matmul ${n} ${dtype}`,
    bytes: 3 * n * n * (dtype === "f32" ? 4 : 2),
    flops: 2 * n ** 3,
    prepare(device) {
      const a = random(device, [n, n], dtype);
      const b = random(device, [n, n], dtype);
      return () => matmul(a, b, { transposeB: true });
    },
  };
}

const works: readonly Work[] = [
  copyWork(2 ** 28),
  ...([["f32"], ["f16"]] as const).flatMap(([dtype]) => [
    matvecWork(14336, 4096, dtype),
    matvecWork(4096, 4096, dtype),
    matvecWork(2048, 8192, dtype),
    matvecWork(128256, 2048, dtype),
  ]),
  ...[1024, 4096].flatMap((n) => [matmulWork(n, "f32"), matmulWork(n, "f16")]),
];

const words = process.argv.slice(2);
const toggles = words.includes("fast")
  ? dawnToggles.fast
  : words.includes("half")
    ? dawnToggles.half
    : undefined;
const wanted = words.filter((word) => word !== "fast" && word !== "half");
const device = await webgpu(toggles === undefined ? {} : { toggles });
console.log(device.adapter.vendor, device.adapter.description, JSON.stringify(device.features));
for (const work of works) {
  if (wanted.length > 0 && !wanted.some((word) => work.name.includes(word))) continue;
  const launch = work.prepare(device);
  const seconds = await secondsOf(device, launch, 20);
  const gigabytes = work.bytes / seconds / 1e9;
  const teraflops = work.flops / seconds / 1e12;
  console.log(
    `${work.name.padEnd(28)} ${(seconds * 1e6).toFixed(1).padStart(9)} us  ${gigabytes.toFixed(0).padStart(6)} GB/s  ${teraflops.toFixed(2).padStart(8)} TFLOP/s`,
  );
  device.trim();
}
device.dispose();
