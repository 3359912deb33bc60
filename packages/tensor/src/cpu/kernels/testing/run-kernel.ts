import { roundTo } from "../../../dtype.js";
import { invariant } from "../../../error.js";
import { byteLengthOf, decode, encode, type HostArray, hostArray } from "../../../reference/host-array.js";
import type { Shape, TensorType } from "../../../shape.js";
import type { CpuFeatures, KernelArgument, KernelStep, LoweredKernel } from "../../kernel.js";
import type { LaneDType } from "../lanes.js";

// A device on one page of code: lays buffers out in a WebAssembly memory and runs every step of a kernel.

/** The least that a machine offers. */
export const plain: CpuFeatures = {
  relaxedSimd: false,
  revectorized: false,
  int8Dot: false,
  sharedMemory: false,
  threads: 1,
};

/** The machines that every kernel is tested on. */
export const machines: readonly CpuFeatures[] = [
  plain,
  { relaxedSimd: true, revectorized: true, int8Dot: true, sharedMemory: true, threads: 4 },
];

/** Bytes around each buffer that no kernel may touch. */
const guardBytes = 64;
const guardByte = 0xa5;

export interface RunOptions {
  /** Threads among which the units of every step are split (they run one after the other); default 1. */
  readonly ranges?: number;
  /** Output j starts with the values of input `inPlace[j]` and shares its memory. */
  readonly inPlace?: Readonly<Record<number, number>>;
}

/**
 * Runs a kernel and returns its outputs. Throws if a byte outside of outputs and scratch changed.
 */
export function runKernel(
  kernel: LoweredKernel | undefined,
  inputs: readonly HostArray[],
  outputs: readonly TensorType[],
  { ranges = 1, inPlace = {} }: RunOptions = {},
): HostArray[] {
  invariant(kernel, "there is a kernel to run");
  const { scratchBytes = 0 } = kernel;
  const layout = layOut([...inputs, ...outputs].map(byteLengthOf));
  outputs.forEach((_, j) => {
    const shared = inPlace[j];
    if (shared !== undefined) layout.addresses[inputs.length + j] = layout.addresses[shared] ?? 0;
  });
  const memory = makeMemory(layout.end + scratchBytes + guardBytes, kernel);
  const bytes = new Uint8Array(memory.buffer).fill(guardByte);
  inputs.forEach((input, i) => {
    bytes.set(encode(input), layout.addresses[i]);
  });
  const before = bytes.slice();
  for (const step of kernel.steps)
    runStep(step, { memory, layout: layout.addresses, scratch: layout.end, ranges });
  const results = outputs.map((type, j) => {
    const address = layout.addresses[inputs.length + j] ?? 0;
    const result = decode(bytes.slice(address, address + byteLengthOf(type)), type);
    bytes.set(before.subarray(address, address + byteLengthOf(type)), address);
    return result;
  });
  bytes.set(before.subarray(layout.end, layout.end + scratchBytes), layout.end);
  invariant(
    bytes.every((byte, i) => byte === before[i]),
    "a kernel wrote outside of its outputs",
  );
  return results;
}

/** Addresses with guards between; 4-byte aligned only, as tensors inside an arena may be. */
function layOut(lengths: readonly number[]): { addresses: number[]; end: number } {
  let end = guardBytes;
  const addresses = lengths.map((length) => {
    const address = end;
    end += Math.ceil((length + guardBytes) / 4) * 4;
    return address;
  });
  return { addresses, end: Math.ceil(end / 64) * 64 };
}

function makeMemory(byteLength: number, kernel: LoweredKernel): WebAssembly.Memory {
  const pages = Math.ceil(byteLength / 65536);
  const shared = kernel.steps.some((step) => step.module.key.split("|").at(-1)?.includes("shared"));
  return new WebAssembly.Memory({ initial: pages, maximum: pages, shared });
}

interface Launch {
  readonly memory: WebAssembly.Memory;
  readonly layout: readonly number[];
  readonly scratch: number;
  readonly ranges: number;
}

function runStep(step: KernelStep, { memory, layout, scratch, ranges }: Launch): void {
  const module = new WebAssembly.Module(step.module.emit() as Uint8Array<ArrayBuffer>);
  const { run } = new WebAssembly.Instance(module, { env: { memory } }).exports;
  invariant(typeof run === "function", "a kernel exports run");
  const resolve = (arg: KernelArgument): number => {
    if (arg.kind === "buffer") return layout[arg.index] ?? Number.NaN;
    return arg.kind === "scratch" ? scratch + arg.byteOffset : arg.value;
  };
  const args = step.args.map(resolve);
  for (let k = 0; k < ranges; k++) {
    run(...args, Math.floor((step.units * k) / ranges), Math.floor((step.units * (k + 1)) / ranges));
  }
}

/** Random values that the dtype can store: floats in -2..2 times `scale`, small integers. Same seed, same values. */
export function randomArray(
  shape: Shape,
  dtype: LaneDType,
  { seed = 1, scale = 1 }: { seed?: number; scale?: number } = {},
): HostArray {
  const array = hostArray({ shape, dtype });
  let state = (seed * 2654435761) >>> 0;
  const isFloat = dtype === "f32" || dtype === "f16" || dtype === "bf16";
  for (let i = 0; i < array.data.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const unit = state / 2 ** 32;
    const value = isFloat
      ? (unit * 4 - 2) * scale
      : Math.floor((unit - (dtype === "i32" || dtype === "i8" ? 0.5 : 0)) * 120);
    array.data[i] = roundTo(dtype, dtype === "bool" ? Math.floor(unit * 2) : value);
  }
  return array;
}

/** Largest |actual - expected| / (1 + |expected|); infinite where one is NaN or infinite and the other is not the same. */
export function worstError(actual: HostArray, expected: HostArray): number {
  invariant(actual.data.length === expected.data.length, "arrays of one length are compared");
  let worst = 0;
  for (let i = 0; i < actual.data.length; i++) {
    const [a = 0, e = 0] = [actual.data[i], expected.data[i]];
    if (Object.is(a, e) || a === e) continue;
    const error = Math.abs(a - e) / (1 + Math.abs(e));
    worst = Math.max(worst, Number.isNaN(error) ? Number.POSITIVE_INFINITY : error);
  }
  return worst;
}
