// Loops that do one thing as fast as WebAssembly can: the limits that a kernel is measured against.
import { assemble, type FunctionBuilder, f32x4, i32x4, type Local, v128 } from "@heddle/tensor/kernel";

/** Pairs of neighbouring vectors, so that an engine that joins them does 256 bits at once. */
const numAccumulators = 24;
const valuesAt = 0;
const resultsAt = 4096;
export const readFrom = 65_536;

/** Reads `bytes` from `start` on and combines them, 128 bytes a round. */
export function readKernel(): Uint8Array {
  return assemble({ sharedMemory: true }, (f) => {
    const [start, end] = [f.param("i32"), f.param("i32")];
    const sums = Array.from({ length: 8 }, () => f.local("v128"));
    f.for(start, end, 128, (at) => {
      for (const [i, sum] of sums.entries()) f.set(sum, v128.or(sum, v128.load(at, 16 * i)));
    });
    storeAll(f, sums);
  });
}

/** `rounds` times 24 vectors of four fused multiply-adds: 192 operations a round. */
export function multiplyAddKernel(): Uint8Array {
  return accumulate((sum, x, y) => f32x4.relaxedMadd(x, y, sum));
}

/** `rounds` times 24 dot products of 16 int8 each: 768 operations a round. */
export function dotKernel(): Uint8Array {
  return accumulate((sum, x, y) => i32x4.relaxedDotI8x16I7x16AddS(x, y, sum));
}

type Step = (
  sum: Local<"v128">,
  x: Local<"v128">,
  y: Local<"v128">,
) => Parameters<FunctionBuilder["drop"]>[0];

function accumulate(step: Step): Uint8Array {
  return assemble({ sharedMemory: true }, (f) => {
    const [, rounds] = [f.param("i32"), f.param("i32")];
    const sums = Array.from({ length: numAccumulators }, () => f.local("v128"));
    f.for(0, rounds, 1, () => {
      // One factor for all lanes and a pair of vectors, as in the tile of a matrix product.
      const x = f.let(v128.load32Splat(valuesAt, 1024));
      const pair = [0, 16].map((byte) => f.let(v128.load(valuesAt, byte)));
      for (const [i, sum] of sums.entries()) {
        const y = pair[i % 2];
        if (y !== undefined) f.set(sum, step(sum, x, y) as never);
      }
    });
    storeAll(f, sums);
  });
}

function storeAll(f: FunctionBuilder, sums: readonly Local<"v128">[]): void {
  for (const [i, sum] of sums.entries()) f.store("v128", resultsAt, sum, 16 * i);
}
