import { cpu } from "../src/cpu/device.js";
import { gemm } from "../src/cpu/kernels/gemm.js";

/** A product of two square f32 matrices that can be run and read again and again. */
export interface GemmContestant {
  readonly name: string;
  readonly threads: number;
  run(): void | Promise<void>;
  /** The last product, row-major. */
  result(): Promise<Float32Array>;
  dispose(): void | Promise<void>;
}

/** C = A B for `size` x `size` matrices on Heddle's cpu device. */
export function heddleGemm(options: {
  readonly size: number;
  readonly threads: number;
  readonly a: Float32Array;
  readonly b: Float32Array;
}): GemmContestant {
  const { size, threads, a, b } = options;
  const device = cpu({ threads });
  const type = { shape: [size, size], dtype: "f32" } as const;
  const lowered = gemm({ a: type, b: type }, device.features);
  if (lowered === undefined) throw new Error("Heddle has no f32 matrix product.");
  const kernel = { kind: "wasm", ...lowered } as const;
  const buffers = [a, b, a].map((values) => {
    const buffer = device.alloc(values.byteLength);
    device.write(buffer, values);
    return buffer;
  });
  const { relaxedSimd, revectorized } = device.features;
  const level = [relaxedSimd ? "relaxed SIMD" : "SIMD", revectorized ? "256-bit" : "128-bit"].join(", ");
  return {
    name: `Heddle (${level})`,
    threads: device.limits.threads,
    run: () => device.launch(kernel, buffers),
    result: async () => new Float32Array(device.readSync(buffers[2] ?? { byteLength: 0 })),
    dispose: () => device.dispose(),
  };
}
