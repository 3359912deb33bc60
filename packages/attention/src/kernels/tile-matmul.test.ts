import { assemble, type CpuFeatures, f32, i32 } from "@heddle/tensor/kernel";
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
  /** The depth is known when the code is emitted, and work goes on beside: it counts at the end of memory. */
  readonly isFixed?: boolean;
}

/** Where rounds of four depths, and depths, are counted. */
const counts = 32_000;

/** Runs one product of small whole numbers, exact in f32. */
function product(
  { rows, depth, columns, isTransposed, accumulates, isFixed = false }: Case,
  features: CpuFeatures,
): Float32Array {
  const memory = new WebAssembly.Memory({ initial: 2 });
  const floats = new Float32Array(memory.buffer);
  const [a, b, c] = [0, 8192, 16384];
  for (let i = 0; i < rows * depth; i++) floats[a + i] = (i % 7) - 3;
  for (let i = 0; i < depth * columns; i++) floats[b + i] = (i % 5) - 2;
  floats.fill(1, c, c + rows * columns + 1);
  const bytes = assemble({ sharedMemory: false }, (f) => {
    const count = (index: number) => {
      const at = (counts + index) * 4;
      f.store("f32", i32.const(at), f32.add(f32.load(i32.const(at)), 1));
    };
    const beside = { emit: (step: number) => count(1 + step), next: () => count(0) };
    const [rowCount, depthCount] = [f.param("i32"), f.param("i32")];
    emitTileMatmul(f, matmulRegisters(f, features), {
      a: isTransposed
        ? { address: i32.const(a * 4), rowBytes: 4, columnBytes: rows * 4 }
        : { address: i32.const(a * 4), rowBytes: depth * 4, columnBytes: 4 },
      b: { address: i32.const(b * 4), rowBytes: columns * 4 },
      c: { address: i32.const(c * 4), rowBytes: columns * 4 },
      rows: rowCount,
      depth: isFixed ? depth : depthCount,
      columns,
      accumulates,
      beside: isFixed ? () => beside : undefined,
    });
  });
  const { run } = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory } }).exports;
  (run as (rows: number, depth: number) => void)(rows, depth);
  return Float32Array.of(...floats.slice(c, c + rows * columns + 1), ...floats.slice(counts, counts + 5));
}

/** Blocks of 8, 4 and 1 columns. */
function blocksOf(columns: number): number {
  return Math.floor(columns / 8) + Math.floor((columns % 8) / 4) + (columns % 4);
}

function expected(which: Case, width: number): number[] {
  const { rows, depth, columns, isTransposed, accumulates, isFixed = false } = which;
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
  // One guard after the matrix. Blocks are of 6 rows or 1, and of 16 or 8, 8, 4 and 1 columns.
  const rowBlocks = Math.floor(rows / 6) + (rows % 6);
  const columnBlocks = Math.floor(columns / width) + blocksOf(columns % width);
  const rounds = isFixed ? (depth / 4) * rowBlocks * columnBlocks : 0;
  return [...result, 1, ...new Array<number>(5).fill(rounds)];
}

describe.each([false, true])("revectorized %s", (revectorized) => {
  test.each<Case>([
    { rows: 12, depth: 8, columns: 32, isTransposed: false, accumulates: false },
    { rows: 7, depth: 5, columns: 31, isTransposed: true, accumulates: true },
    { rows: 1, depth: 1, columns: 3, isTransposed: false, accumulates: true },
    { rows: 5, depth: 9, columns: 20, isTransposed: true, accumulates: false },
    { rows: 7, depth: 8, columns: 45, isTransposed: false, accumulates: true, isFixed: true },
  ])("multiplies $rows x $depth x $columns", (which) => {
    expect(Array.from(product(which, { ...plainFeatures, revectorized }))).toEqual(
      expected(which, revectorized ? 16 : 8),
    );
  });
});
