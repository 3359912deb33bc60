// Runs kernels of matrix products by themselves, without tensors, for programs that compare them.
import type { WebGpuDevice } from "@heddle/gpu";
import type { WgslKernel } from "@heddle/tensor/kernel";
import type { MatmulCall } from "../../../../packages/tensor/src/wgsl/kernels/matmul-call.ts";
import { median } from "./median.ts";

interface Buffer {
  destroy(): void;
}

/** As much of a GPUDevice as this file uses. */
interface Native {
  createBuffer(of: { size: number; usage: number }): Buffer & {
    mapAsync(mode: number): Promise<unknown>;
    getMappedRange(): ArrayBuffer;
  };
  createShaderModule(of: { code: string }): {
    getCompilationInfo(): Promise<{ messages: { type: string; message: string }[] }>;
  };
  createComputePipeline(of: object): { getBindGroupLayout(index: number): object };
  createBindGroup(of: object): object;
  createCommandEncoder(): {
    beginComputePass(): {
      setPipeline(pipeline: object): void;
      setBindGroup(index: number, group: object): void;
      dispatchWorkgroups(x: number, y: number, z: number): void;
      end(): void;
    };
    copyBufferToBuffer(from: Buffer, at: number, to: Buffer, offset: number, bytes: number): void;
    finish(): object;
  };
  queue: {
    submit(commands: object[]): void;
    writeBuffer(buffer: Buffer, at: number, data: ArrayBufferView): void;
    onSubmittedWorkDone(): Promise<unknown>;
  };
  pushErrorScope(filter: string): void;
  popErrorScope(): Promise<{ message: string } | null>;
}

const storage = 0x80 | 0x4 | 0x8;

/** Operands of one product on the device, of which kernels can be timed. */
export function createRunner(device: WebGpuDevice, call: MatmulCall) {
  const native = device.native as unknown as Native;
  const { M, N, K, transposeA, transposeB, dtypes } = call;
  const isF32 = dtypes.a === "f32";
  const bytes = isF32 ? 4 : 2;
  const a = randomMatrix(native, M * K, isF32);
  const b = randomMatrix(native, N * K, isF32);
  const c = native.createBuffer({ size: M * N * bytes, usage: storage });

  function sum(at: number): { value: number; size: number } {
    const [m, n] = [Math.floor(at / N), at % N];
    let [value, size] = [0, 0];
    for (let k = 0; k < K; k++) {
      const term =
        a.values(transposeA ? k * M + m : m * K + k) * b.values(transposeB ? n * K + k : k * N + n);
      value += term;
      size += Math.abs(term);
    }
    return { value, size };
  }

  async function read(): Promise<Float32Array | Float16List> {
    const target = native.createBuffer({ size: M * N * bytes, usage: 0x1 | 0x8 });
    const encoder = native.createCommandEncoder();
    encoder.copyBufferToBuffer(c, 0, target, 0, M * N * bytes);
    native.queue.submit([encoder.finish()]);
    await target.mapAsync(1);
    const copy = target.getMappedRange().slice(0);
    target.destroy();
    return isF32 ? new Float32Array(copy) : halves(copy);
  }

  async function time(kernel: WgslKernel): Promise<string> {
    native.pushErrorScope("validation");
    const scratch = (kernel.scratch ?? []).map((size) => native.createBuffer({ size, usage: storage }));
    const steps = kernel.steps.map((step) => {
      const module = native.createShaderModule({ code: step.code });
      const pipeline = native.createComputePipeline({
        layout: "auto",
        compute: { module, entryPoint: "main" },
      });
      const entries = step.bindings.map(({ memory }, binding) => ({
        binding,
        resource: {
          buffer: memory.kind === "scratch" ? scratch[memory.index] : [a.buffer, b.buffer, c][memory.index],
        },
      }));
      const params = step.params;
      const uniform =
        params && native.createBuffer({ size: Math.ceil(params.byteLength / 16) * 16, usage: 0x40 | 0x8 });
      if (uniform && params) native.queue.writeBuffer(uniform, 0, params);
      const all = uniform
        ? [...entries, { binding: entries.length, resource: { buffer: uniform } }]
        : entries;
      return {
        pipeline,
        group: native.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries: all }),
        grid: step.grid,
      };
    });
    const submit = (count: number) => {
      const encoder = native.createCommandEncoder();
      const pass = encoder.beginComputePass();
      for (let i = 0; i < count; i++) {
        for (const { pipeline, group, grid } of steps) {
          pass.setPipeline(pipeline);
          pass.setBindGroup(0, group);
          pass.dispatchWorkgroups(...grid);
        }
      }
      pass.end();
      native.queue.submit([encoder.finish()]);
    };
    native.queue.writeBuffer(c, 0, new Uint8Array(Math.min(2 ** 20, M * N * bytes)).fill(0xff));
    submit(1);
    await native.queue.onSubmittedWorkDone();
    const failure = await native.popErrorScope();
    if (failure) return `fails: ${failure.message.slice(0, 160).replaceAll("\n", " ")}`;
    const got = await read();
    let error = 0;
    for (let i = 0; i < 48; i++) {
      const at = Math.floor((i * 0.6180339887 * M * N) % (M * N));
      const { value, size } = sum(at);
      error = Math.max(
        error,
        Math.abs((got[at] ?? Number.NaN) - value) / size || 0,
        Number.isNaN(got[at]) ? 1 : 0,
      );
    }
    const count = await warmUp(submit);
    const seconds: number[] = [];
    for (let round = 0; round < 7; round++) {
      const start = performance.now();
      submit(count);
      await native.queue.onSubmittedWorkDone();
      seconds.push((performance.now() - start) / 1000 / count);
    }
    for (const buffer of scratch) buffer.destroy();
    const typical = median(seconds);
    const gigabytes = ((M * K + N * K + M * N) * bytes) / typical / 1e9;
    const rate = (2 * M * N * K) / typical / 1e12;
    return `${(typical * 1e6).toFixed(0)} us ${rate.toFixed(rate < 100 ? 1 : 0)} TF ${gigabytes.toFixed(0)} GB/s${error < 1e-3 ? "" : ` WRONG ${error.toExponential(1)}`}`;
  }

  /** Runs until the card is warm; tells how many launches take about 15 ms. */
  async function warmUp(submit: (count: number) => void): Promise<number> {
    const begin = performance.now();
    let count = 1;
    let last = 0;
    while (performance.now() - begin < 120) {
      const start = performance.now();
      submit(count);
      await native.queue.onSubmittedWorkDone();
      last = performance.now() - start;
      if (last < 12) count = Math.min(256, Math.ceil(count * Math.min(4, 12 / last)));
    }
    return count;
  }

  function dispose(): void {
    a.buffer.destroy();
    b.buffer.destroy();
    c.destroy();
  }

  return { time, dispose };
}

type Float16List = { readonly [index: number]: number; readonly length: number };

function halves(buffer: ArrayBuffer): Float16List {
  const bits = new Uint16Array(buffer);
  return new Proxy(bits, {
    get: (target, key) => (key === "length" ? target.length : halfOf(target[Number(key)] ?? 0)),
  }) as unknown as Float16List;
}

function halfOf(bits: number): number {
  const [exponent, fraction] = [(bits >> 10) & 31, bits & 1023];
  const size =
    exponent === 0
      ? fraction * 2 ** -24
      : exponent === 31
        ? fraction === 0
          ? Number.POSITIVE_INFINITY
          : Number.NaN
        : (1 + fraction / 1024) * 2 ** (exponent - 15);
  return bits & 0x8000 ? -size : size;
}

/** Numbers in [-1, 1) that repeat after 2^16 - 15 places, a prime: written by the host quickly, without a short period. */
function randomMatrix(native: Native, length: number, isF32: boolean) {
  const period = 65521;
  const numbers = new Float32Array(period);
  const bits = new Uint16Array(period);
  for (let i = 0, state = length >>> 0; i < period; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    // Ten bits of fraction, so that halves hold them exactly.
    const step = state >>> 21;
    numbers[i] = step / 1024 - 1;
    bits[i] = halfBits(step / 1024 - 1);
  }
  const data = isF32 ? new Float32Array(length) : new Uint16Array(length);
  const source = isF32 ? numbers : bits;
  for (let at = 0; at < length; at += period) data.set(source.subarray(0, Math.min(period, length - at)), at);
  const buffer = native.createBuffer({ size: data.byteLength, usage: storage });
  native.queue.writeBuffer(buffer, 0, data);
  return { buffer, values: (i: number) => numbers[i % period] ?? Number.NaN };
}

function halfBits(value: number): number {
  if (value === 0) return 0;
  const exponent = Math.floor(Math.log2(Math.abs(value)));
  const fraction = Math.round((Math.abs(value) / 2 ** exponent - 1) * 1024);
  return (value < 0 ? 0x8000 : 0) | ((exponent + 15) << 10) | fraction;
}
