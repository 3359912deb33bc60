import { assemble, type FunctionBuilder } from "../../wasm/assembler.js";
import { f32, i32 } from "../../wasm/scalar.js";
import { f32x4, v128 } from "../../wasm/simd.js";
import { type Local, select, type Value } from "../../wasm/value.js";
import type { CpuFeatures, KernelModule } from "../kernel.js";
import { DEPTH_UNROLL } from "./gemm-pack.js";

/** Rows and columns of C that the inner loop keeps in registers. */
export interface Tile {
  readonly rows: number;
  readonly columns: number;
}

/** 6x16 fits the registers only where pairs of 128-bit vectors become one of 256 bits. */
export function tileFor(features: CpuFeatures): Tile {
  return { rows: 6, columns: features.revectorized ? 16 : 8 };
}

/** Depth of one pass over a panel: 16 columns of it (16 KiB) stay in the first-level cache. */
const DEPTH_BLOCK = 256;

type Address = Local<"i32">;

/** Where the tile code finds things; byte addresses and element counts. */
interface TileJob {
  readonly f: FunctionBuilder;
  readonly tile: Tile;
  readonly accumulators: readonly Local<"v128">[];
  readonly madd: (a: Value<"v128">, b: Value<"v128">, c: Value<"v128">) => Value<"v128">;
  readonly a: Address;
  readonly b: Address;
  readonly steps: Address;
}

/**
 * Module of the packed product: C[M, N] = A[M, K] B[K, N] over panels of `packModule`, for a batch of matrices.
 *
 * `run(a, b, c, spare, rows, columns, depth, rowBlock, columnBlock, rowBlocks, columnBlocks, firstRow, firstColumn,
 * cRows, cColumns, extent1, extent2, aStride0..2, bStride0..2, begin, end)`.
 * A unit is one block of rowBlock x columnBlock of one matrix of C. `spare` has one tile for each unit.
 * Every element of C is summed over k in the same order whatever the tile, the block or the number of threads.
 */
export function tileModule(tile: Tile, features: CpuFeatures): KernelModule {
  const { relaxedSimd, sharedMemory } = features;
  return {
    key: `gemm-tile:${tile.rows}x${tile.columns}:${relaxedSimd ? "fma" : "mul"}:${sharedMemory ? "shared" : "own"}`,
    emit: () => assemble({ sharedMemory }, (f) => emitBlocks(f, tile, relaxedSimd)),
  };
}

function emitBlocks(f: FunctionBuilder, tile: Tile, isFused: boolean): void {
  const next = () => f.param("i32");
  const [a, b, c, spare, rows, columns, depth] = [next(), next(), next(), next(), next(), next(), next()];
  const [rowBlock, columnBlock, rowBlocks, columnBlocks] = [next(), next(), next(), next()];
  const [firstRow, firstColumn, cRows, cColumns, extent1, extent2] = [
    next(),
    next(),
    next(),
    next(),
    next(),
    next(),
  ];
  const [a0, a1, a2, b0, b1, b2, begin, end] = [
    next(),
    next(),
    next(),
    next(),
    next(),
    next(),
    next(),
    next(),
  ];
  const accumulators = Array.from({ length: (tile.rows * tile.columns) / 4 }, () => f.local("v128"));
  const job: TileJob = {
    f,
    tile,
    accumulators,
    madd: (x, y, z) => (isFused ? f32x4.relaxedMadd(x, y, z) : f32x4.add(f32x4.mul(x, y), z)),
    a: f.local("i32"),
    b: f.local("i32"),
    steps: f.local("i32"),
  };
  f.for(begin, end, 1, (unit) => {
    const blocks = f.let(i32.mul(rowBlocks, columnBlocks));
    const matrix = f.let(i32.divU(unit, blocks));
    const block = f.let(i32.sub(unit, i32.mul(matrix, blocks)));
    const rowFrom = f.let(i32.mul(i32.divU(block, columnBlocks), rowBlock));
    const columnFrom = f.let(i32.mul(i32.remU(block, columnBlocks), columnBlock));
    const rowTo = f.let(minimum(f, i32.add(rowFrom, rowBlock), rows));
    const columnTo = f.let(minimum(f, i32.add(columnFrom, columnBlock), columns));
    const outer = f.let(i32.divU(matrix, extent2));
    const index0 = f.let(i32.divU(outer, extent1));
    const index1 = f.let(i32.remU(outer, extent1));
    const index2 = f.let(i32.remU(matrix, extent2));
    const matrixOf = (s0: Address, s1: Address, s2: Address) =>
      i32.add(i32.mul(index0, s0), i32.add(i32.mul(index1, s1), i32.mul(index2, s2)));
    const panelBytes = (lines: number) => i32.mul(depth, lines * 4);
    const rowPanels = i32.divU(i32.add(rows, tile.rows - 1), tile.rows);
    const columnPanels = i32.divU(i32.add(columns, tile.columns - 1), tile.columns);
    const aMatrix = f.let(
      i32.add(a, i32.mul(i32.mul(matrixOf(a0, a1, a2), rowPanels), panelBytes(tile.rows))),
    );
    const bMatrix = f.let(
      i32.add(b, i32.mul(i32.mul(matrixOf(b0, b1, b2), columnPanels), panelBytes(tile.columns))),
    );
    const cRow = i32.add(i32.mul(matrix, cRows), firstRow);
    const cMatrix = f.let(i32.add(c, i32.shl(i32.add(i32.mul(cRow, cColumns), firstColumn), 2)));
    const spareTile = f.let(i32.add(spare, i32.mul(unit, tile.rows * tile.columns * 4)));
    const rowBytes = f.let(i32.shl(cColumns, 2));
    f.for(0, depth, DEPTH_BLOCK, (k) => {
      const steps = f.let(minimum(f, i32.sub(depth, k), i32.const(DEPTH_BLOCK)));
      f.for(columnFrom, columnTo, tile.columns, (column) => {
        const bPanel = f.let(
          i32.add(bMatrix, i32.shl(i32.add(i32.mul(column, depth), i32.mul(k, tile.columns)), 2)),
        );
        f.for(rowFrom, rowTo, tile.rows, (row) => {
          f.set(job.a, i32.add(aMatrix, i32.shl(i32.add(i32.mul(row, depth), i32.mul(k, tile.rows)), 2)));
          f.set(job.b, bPanel);
          f.set(job.steps, steps);
          multiplyTile(job);
          const target = f.let(i32.add(cMatrix, i32.add(i32.mul(row, rowBytes), i32.shl(column, 2))));
          const usedRows = f.let(minimum(f, i32.sub(rowTo, row), i32.const(tile.rows)));
          const usedColumns = f.let(minimum(f, i32.sub(columnTo, column), i32.const(tile.columns)));
          const isWhole = i32.and(i32.eq(usedRows, tile.rows), i32.eq(usedColumns, tile.columns));
          const isDirect = f.let(i32.and(i32.eqz(k), isWhole));
          storeTile(job, {
            target: f.let(select(isDirect, target, spareTile)),
            rowBytes: f.let(select(isDirect, rowBytes, i32.const(tile.columns * 4))),
          });
          f.if(i32.eqz(isDirect), () =>
            moveTile(job, { spareTile, target, rowBytes, usedRows, usedColumns, isFirst: i32.eqz(k) }),
          );
        });
      });
    });
  });
}

function minimum(f: FunctionBuilder, x: Value<"i32">, y: Value<"i32">): Value<"i32"> {
  const [a, b] = [f.let(x), f.let(y)];
  return select(i32.ltS(a, b), a, b);
}

/** The inner loop: for each depth, one row of B against every row of A, `DEPTH_UNROLL` depths a round. */
function multiplyTile({ f, tile, accumulators, madd, a, b, steps }: TileJob): void {
  const vectors = tile.columns / 4;
  for (const accumulator of accumulators) f.set(accumulator, f32x4.splat(0));
  f.loop((again) => {
    for (let k = 0; k < DEPTH_UNROLL; k++) {
      const bRow = Array.from({ length: vectors }, (_, v) => f.let(v128.load(b, (k * vectors + v) * 16)));
      for (let row = 0; row < tile.rows; row++) {
        const scalar = f.let(v128.load32Splat(a, (k * tile.rows + row) * 4));
        for (const [v, bVector] of bRow.entries()) {
          const accumulator = accumulators[row * vectors + v];
          if (accumulator !== undefined) f.set(accumulator, madd(scalar, bVector, accumulator));
        }
      }
    }
    f.increase(a, DEPTH_UNROLL * tile.rows * 4);
    f.increase(b, DEPTH_UNROLL * tile.columns * 4);
    f.set(steps, i32.sub(steps, DEPTH_UNROLL));
    f.branchIf(again, steps);
  });
}

/** Writes the accumulators. The only store of them: the engine joins vectors in pairs starting from here. */
function storeTile(
  { f, tile, accumulators }: TileJob,
  { target, rowBytes }: { readonly target: Address; readonly rowBytes: Address },
): void {
  const vectors = tile.columns / 4;
  for (const [index, accumulator] of accumulators.entries()) {
    f.store("v128", target, accumulator, (index % vectors) * 16);
    if (index % vectors === vectors - 1) f.increase(target, rowBytes);
  }
}

interface Move {
  readonly spareTile: Address;
  readonly target: Address;
  readonly rowBytes: Address;
  readonly usedRows: Address;
  readonly usedColumns: Address;
  readonly isFirst: Value<"i32">;
}

/** Takes the used part of the spare tile to C: stores it in the first pass over the depth, adds it in later ones. */
function moveTile(
  { f, tile }: TileJob,
  { spareTile, target, rowBytes, usedRows, usedColumns, isFirst }: Move,
): void {
  const first = f.let(isFirst);
  f.for(0, usedRows, 1, (row) => {
    const from = f.let(i32.add(spareTile, i32.mul(row, tile.columns * 4)));
    const to = f.let(i32.add(target, i32.mul(row, rowBytes)));
    const column = f.let(i32.const(0));
    f.if(
      first,
      () => {
        f.advance(column, i32.sub(usedColumns, 3), 4, () => {
          f.store("v128", to, v128.load(from));
          f.increase(from, 16);
          f.increase(to, 16);
        });
        f.advance(column, usedColumns, 1, () => {
          f.store("f32", to, f32.load(from));
          f.increase(from, 4);
          f.increase(to, 4);
        });
      },
      () => {
        f.advance(column, i32.sub(usedColumns, 3), 4, () => {
          f.store("v128", to, f32x4.add(v128.load(to), v128.load(from)));
          f.increase(from, 16);
          f.increase(to, 16);
        });
        f.advance(column, usedColumns, 1, () => {
          f.store("f32", to, f32.add(f32.load(to), f32.load(from)));
          f.increase(from, 4);
          f.increase(to, 4);
        });
      },
    );
  });
}
