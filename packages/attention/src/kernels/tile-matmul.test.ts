import { assemble, type CpuFeatures, i32 } from "@heddle/tensor/kernel";
import { describe, expect, test } from "vitest";
import { emitTileMatmul, matmulRegisters } from "./tile-matmul.js";

/** Features that every engine with SIMD has. */
const plainFeatures: CpuFeatures = {
  relaxedSimd: false,
  revectorized: false,
  int8Dot: false,
  sharedMemory: false,
  threads: 1,
};

interface Case {
  readonly rows: number;
  readonly depth: number;
  readonly columns: number;
  readonly isTransposed: boolean;
  readonly accumulates: boolean;
}

/** Runs one product of small whole numbers, exact in f32. */
function product(
  { rows, depth, columns, isTransposed, accumulates }: Case,
  features: CpuFeatures,
): Float32Array {
  const memory = new WebAssembly.Memory({ initial: 2 });
  const floats = new Float32Array(memory.buffer);
  const [a, b, c] = [0, 8192, 16384];
  for (let i = 0; i < rows * depth; i++) floats[a + i] = (i % 7) - 3;
  for (let i = 0; i < depth * columns; i++) floats[b + i] = (i % 5) - 2;
  floats.fill(1, c, c + rows * columns + 1);
  const bytes = assemble({ sharedMemory: false }, (f) => {
    const [rowCount, depthCount] = [f.param("i32"), f.param("i32")];
    emitTileMatmul(f, matmulRegisters(f, features), {
      a: isTransposed
        ? { address: i32.const(a * 4), rowBytes: 4, columnBytes: rows * 4 }
        : { address: i32.const(a * 4), rowBytes: depth * 4, columnBytes: 4 },
      b: { address: i32.const(b * 4), rowBytes: columns * 4 },
      c: { address: i32.const(c * 4), rowBytes: columns * 4 },
      rows: rowCount,
      depth: depthCount,
      columns,
      accumulates,
    });
  });
  const { run } = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory } }).exports;
  (run as (rows: number, depth: number) => void)(rows, depth);
  return floats.slice(c, c + rows * columns + 1);
}

function expected({ rows, depth, columns, isTransposed, accumulates }: Case): number[] {
  const result: number[] = [];
  for (let r = 0; r < rows; r++) {
    for (let n = 0; n < columns; n++) {
      let sum = accumulates ? 1 : 0;
      for (let k = 0; k < depth; k++) {
        const index = isTransposed ? k * rows + r : r * depth + k;
        sum += ((index % 7) - 3) * (((k * columns + n) % 5) - 2);
      }
      result.push(sum);
    }
  }
  return [...result, 1]; // one guard after the matrix
}

describe.each([false, true])("revectorized %s", (revectorized) => {
  test.each<Case>([
    { rows: 12, depth: 8, columns: 32, isTransposed: false, accumulates: false },
    { rows: 7, depth: 5, columns: 31, isTransposed: true, accumulates: true },
    { rows: 1, depth: 1, columns: 3, isTransposed: false, accumulates: true },
    { rows: 5, depth: 9, columns: 20, isTransposed: true, accumulates: false },
  ])("multiplies $rows x $depth x $columns", (which) => {
    expect(Array.from(product(which, { ...plainFeatures, revectorized }))).toEqual(expected(which));
  });
});
