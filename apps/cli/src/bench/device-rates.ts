import { type Device, matmul, ones, type Tensor } from "@heddle/tensor";

/** What the device does at most in the kernels that bound a model: bytes a second where they bound it, operations else. */
export interface DeviceRates {
  readonly sizes: RateSizes;
  /** A copy, usually of 64 MiB, read and written. */
  readonly copyGBs: number;
  /** One row times square f16 weights, usually 4096 wide, which are read; a decoding step is made of such products. */
  readonly matvecGBs: number;
  /** Square matrices, usually of 1024, f32 and f16; a prompt is made of such products. */
  readonly matmulF32: number;
  readonly matmulF16: number;
}

/** Extents of what is measured. */
interface RateSizes {
  /** Bytes of the copy. */
  readonly copyBytes: number;
  /** Inputs and outputs of the product with one row. */
  readonly width: number;
  /** Extents of the others. */
  readonly edge: number;
}

const usualSizes: RateSizes = { copyBytes: 2 ** 26, width: 4096, edge: 1024 };

/** Measures a device by itself, without a model: the limits that models are held against. */
export async function measureRates(device: Device, sizes = usualSizes): Promise<DeviceRates> {
  const { copyBytes, width, edge } = sizes;
  const copied = ones(device, [copyBytes / 4]);
  const weights = ones(device, [width, width], { dtype: "f16" });
  const row = ones(device, [1, width], { dtype: "f16" });
  const single = ones(device, [edge, edge]);
  const half = ones(device, [edge, edge], { dtype: "f16" });
  const operations = 2 * edge ** 3;
  try {
    return {
      sizes,
      copyGBs: (2 * copyBytes) / (await secondsOf(device, () => copied.neg())) / 1e9,
      matvecGBs:
        (2 * width ** 2) / (await secondsOf(device, () => matmul(row, weights, { transposeB: true }))) / 1e9,
      matmulF32:
        operations / (await secondsOf(device, () => matmul(single, single, { transposeB: true }))) / 1e12,
      matmulF16:
        operations / (await secondsOf(device, () => matmul(half, half, { transposeB: true }))) / 1e12,
    };
  } finally {
    for (const tensor of [copied, weights, row, single, half]) tensor.dispose();
  }
}

/** Two lines beside each other's limits. */
export function describeRates({ sizes, copyGBs, matvecGBs, matmulF32, matmulF16 }: DeviceRates): string {
  const { width, edge } = sizes;
  const share = ((matvecGBs / copyGBs) * 100).toFixed(0);
  return `copy ${copyGBs.toFixed(0)} GB/s; one row x ${width}x${width} f16 ${matvecGBs.toFixed(0)} GB/s (${share} % of the copy)
${edge}x${edge}x${edge}: f32 ${matmulF32.toPrecision(3)} TFLOP/s, f16 ${matmulF16.toPrecision(3)} TFLOP/s
`;
}

/** Median seconds of a launch, of rounds of as many as take about 20 ms. */
async function secondsOf(device: Device, run: () => Tensor): Promise<number> {
  const round = async (count: number) => {
    const start = performance.now();
    for (let i = 0; i < count; i++) run().dispose();
    await device.sync();
    return (performance.now() - start) / 1000 / count;
  };
  // The first round compiles; an adapter in software that takes seconds for it is not asked again.
  const cold = await round(1);
  if (cold > 1) return cold;
  const first = await round(1);
  const count = Math.max(1, Math.min(200, Math.round(0.02 / first)));
  const rounds: number[] = [];
  for (let i = 0; i < 5; i++) rounds.push(await round(count));
  return rounds.sort((a, b) => a - b)[rounds.length >> 1] ?? first;
}
