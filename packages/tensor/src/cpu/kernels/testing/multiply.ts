import { expect } from "vitest";
import { numberToBf16, numberToF16 } from "../../../dtype.js";
import { sizeOf } from "../../../shape.js";
import type { CpuFeatures, KernelStep } from "../../kernel.js";
import { LinearMemory } from "../../memory.js";
import { type GemmProblem, gemm } from "../gemm.js";

export interface Stored {
  readonly values: Float64Array;
  readonly bytes: Uint8Array;
}

/** Random numbers of the problem's dtype, as stored and as f64. */
export function random({ shape, dtype }: GemmProblem["a"], seed: number): Stored {
  const values = new Float64Array(sizeOf(shape));
  let state = seed;
  for (let i = 0; i < values.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    // Eighths in -2..2 are exact in every dtype.
    values[i] = (state >> 27) / 8;
  }
  const encode = dtype === "bf16" ? numberToBf16 : numberToF16;
  const typed = dtype === "f32" ? Float32Array.from(values) : Uint16Array.from(values, encode);
  return { values, bytes: new Uint8Array(typed.buffer) };
}

/** Runs the steps as a device would, the units of each cut into ranges of `rangeUnits`. */
function run(
  memory: LinearMemory,
  steps: readonly KernelStep[],
  at: { buffers: number[]; scratch: number; rangeUnits: number },
) {
  for (const step of steps) {
    const module = new WebAssembly.Module(step.module.emit() as Uint8Array<ArrayBuffer>);
    const kernel = new WebAssembly.Instance(module, { env: { memory: memory.memory } }).exports.run as (
      ...args: number[]
    ) => void;
    const args = step.args.map((argument) => {
      if (argument.kind === "buffer") return at.buffers[argument.index] ?? Number.NaN;
      return argument.kind === "scratch" ? at.scratch + argument.byteOffset : argument.value;
    });
    for (let begin = 0; begin < step.units; begin += at.rangeUnits) {
      kernel(...args, begin, Math.min(step.units, begin + at.rangeUnits));
    }
  }
}

export interface MultiplyOptions {
  readonly rangeUnits?: number;
  /** B instead of random numbers. */
  readonly b?: Stored;
  /** Inputs of the epilogue, as stored. */
  readonly extra?: readonly Uint8Array[];
  readonly outputBytes?: number;
}

/** Runs a problem over random numbers; returns the result beside the product in f64. */
export function multiply(problem: GemmProblem, features: CpuFeatures, options: MultiplyOptions = {}) {
  const { rangeUnits = Number.MAX_SAFE_INTEGER, extra = [], outputBytes = 4 } = options;
  const planned = gemm(problem, features);
  if (planned === undefined) throw new Error("no kernel");
  const [a, b] = [random(problem.a, 1), options.b ?? random(problem.b, 2)];
  const expected = naive(problem, a.values, b.values);
  const memory = new LinearMemory();
  const stored = [a.bytes, b.bytes, ...extra];
  const buffers = stored.map((bytes) => memory.alloc(bytes.length));
  const output = memory.alloc(expected.length * outputBytes);
  const scratch = memory.alloc(planned.scratchBytes);
  memory.bytes().fill(0xff);
  for (const [i, bytes] of stored.entries()) memory.bytes().set(bytes, buffers[i]);
  run(memory, planned.steps, { buffers: [...buffers, output], scratch, rangeUnits });
  const { buffer } = memory.bytes().slice(output, output + expected.length * outputBytes);
  const names = planned.steps.map((step) => step.module.key);
  return {
    result: new Float32Array(outputBytes === 4 ? buffer : new ArrayBuffer(0)),
    bits: new Uint16Array(buffer),
    expected,
    names,
  };
}

/** The product in f64 loops over broadcast batches. */
function naive(
  { a, b, transposeA = false, transposeB = false }: GemmProblem,
  aValues: Float64Array,
  bValues: Float64Array,
) {
  const [aRows = 0, aColumns = 0] = a.shape.slice(-2);
  const [bRows = 0, bColumns = 0] = b.shape.slice(-2);
  const [m, k] = transposeA ? [aColumns, aRows] : [aRows, aColumns];
  const n = transposeB ? bRows : bColumns;
  const rank = Math.max(a.shape.length, b.shape.length) - 2;
  const pad = (shape: readonly number[]) => [
    ...new Array<number>(rank + 2 - shape.length).fill(1),
    ...shape.slice(0, -2),
  ];
  const [batchA, batchB] = [pad(a.shape), pad(b.shape)];
  const batch = batchA.map((extent, i) => (extent === 1 ? (batchB[i] ?? 1) : extent));
  const result = new Float64Array(sizeOf(batch) * m * n);
  for (let matrix = 0; matrix < sizeOf(batch); matrix++) {
    let [rest, indexA, indexB, strideA, strideB] = [matrix, 0, 0, 1, 1];
    for (let axis = rank - 1; axis >= 0; axis--) {
      const index = rest % (batch[axis] ?? 1);
      rest = Math.floor(rest / (batch[axis] ?? 1));
      if (batchA[axis] !== 1) indexA += index * strideA;
      if (batchB[axis] !== 1) indexB += index * strideB;
      strideA *= batchA[axis] ?? 1;
      strideB *= batchB[axis] ?? 1;
    }
    for (let i = 0; i < m; i++) {
      for (let j = 0; j < n; j++) {
        let sum = 0;
        for (let p = 0; p < k; p++) {
          const x = aValues[indexA * m * k + (transposeA ? p * m + i : i * k + p)] ?? Number.NaN;
          const y = bValues[indexB * n * k + (transposeB ? j * k + p : p * n + j)] ?? Number.NaN;
          sum += x * y;
        }
        result[(matrix * m + i) * n + j] = sum;
      }
    }
  }
  return result;
}

// Products of eighths have few bits: every partial sum is exact in f32, so the results must be equal.
export function expectExact({ result, expected }: { result: Float32Array; expected: Float64Array }) {
  let wrong = -1;
  for (let i = 0; i < expected.length && wrong < 0; i++) if (result[i] !== expected[i]) wrong = i;
  expect({ wrong, got: result[wrong] }).toEqual({ wrong: -1, got: undefined });
}
