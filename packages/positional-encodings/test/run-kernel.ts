import type { CpuFeatures, WasmKernelFactory } from "@heddle/tensor/kernel";

type Lowered = NonNullable<ReturnType<WasmKernelFactory>>;
export type HostBuffer = Float32Array | Int32Array | Uint8Array;

/** Features that every engine with SIMD has. */
export const plainFeatures: CpuFeatures = {
  relaxedSimd: false,
  revectorized: false,
  int8Dot: false,
  sharedMemory: false,
  threads: 1,
};

/**
 * Runs a lowered kernel on a memory of its own, one thread, each step cut into ranges of `chunk` units.
 * `buffers` are the inputs followed by the outputs; all are read back.
 */
export function runKernel(
  kernel: Lowered,
  buffers: readonly HostBuffer[],
  { chunk = 7 }: { chunk?: number } = {},
): void {
  const addresses: number[] = [];
  let top = 64;
  for (const buffer of buffers) {
    addresses.push(top);
    top += Math.ceil((buffer.byteLength + 64) / 64) * 64;
  }
  const scratch = top;
  top += (kernel.scratchBytes ?? 0) + 64;
  const memory = new WebAssembly.Memory({ initial: Math.ceil(top / 65_536) + 1 });
  const bytes = new Uint8Array(memory.buffer);
  for (const [i, buffer] of buffers.entries()) bytes.set(bytesOf(buffer), addresses[i]);
  for (const step of kernel.steps) {
    const module = new WebAssembly.Module(step.module.emit() as Uint8Array<ArrayBuffer>);
    const { run } = new WebAssembly.Instance(module, { env: { memory } }).exports;
    if (typeof run !== "function") throw new Error("kernel module does not export run");
    const args = step.args.map((argument) => {
      if (argument.kind === "buffer") return addresses[argument.index];
      return argument.kind === "scratch" ? scratch + argument.byteOffset : argument.value;
    });
    for (let begin = 0; begin < step.units; begin += chunk) {
      run(...args, begin, Math.min(begin + chunk, step.units));
    }
  }
  for (const [i, buffer] of buffers.entries()) {
    const from = addresses[i] ?? 0;
    bytesOf(buffer).set(bytes.subarray(from, from + buffer.byteLength));
  }
}

function bytesOf(buffer: HostBuffer): Uint8Array {
  return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength);
}
