import type { FunctionBuilder } from "../../wasm/assembler.js";
import { f32, i32 } from "../../wasm/scalar.js";
import { f32x4, v128 } from "../../wasm/simd.js";
import { type Local, select, type Value } from "../../wasm/value.js";
import type { CpuFeatures } from "../kernel.js";
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
export const DEPTH_BLOCK = 256;

type Address = Local<"i32">;

/** The registers of the tile code. */
export interface TileJob {
  readonly f: FunctionBuilder;
  readonly tile: Tile;
  readonly accumulators: readonly Local<"v128">[];
  readonly madd: (a: Value<"v128">, b: Value<"v128">, c: Value<"v128">) => Value<"v128">;
  readonly a: Address;
  readonly b: Address;
  readonly steps: Address;
}

/** Declares the registers; call it before the first statement. */
export function tileJob(f: FunctionBuilder, tile: Tile, features: CpuFeatures): TileJob {
  return {
    f,
    tile,
    accumulators: Array.from({ length: (tile.rows * tile.columns) / 4 }, () => f.local("v128")),
    madd: (x, y, z) => (features.relaxedSimd ? f32x4.relaxedMadd(x, y, z) : f32x4.add(f32x4.mul(x, y), z)),
    a: f.local("i32"),
    b: f.local("i32"),
    steps: f.local("i32"),
  };
}

/** A block of one matrix of C and its operands; extents in elements. */
export interface TileBlock {
  readonly rowFrom: Address;
  readonly rowTo: Address;
  readonly columnFrom: Address;
  readonly columnTo: Address;
  /** Depth of the packed panels. */
  readonly depth: Address;
  /** Panels of A's matrix, over the whole depth. */
  readonly a: Address;
  /** Row 0, column 0 of C's matrix, and the bytes of its rows. */
  readonly c: Address;
  readonly rowBytes: Address;
  /** Room for one tile. */
  readonly spare: Address;
  /** Runs before each pass over `DEPTH_BLOCK` depths from k on. */
  prepare?(k: Address, steps: Address): void;
  /** Address of the panel of B that begins with `column`, at depth k. */
  panelOfB(column: Address, k: Address): Value<"i32">;
}

/**
 * C[rows, columns] = A B over one block, in passes of `DEPTH_BLOCK` depths.
 *
 * Every element of C is summed over k in the same order whatever the tile, the block or the number of threads.
 */
export function multiplyBlock(job: TileJob, block: TileBlock): void {
  const { f, tile } = job;
  const { depth, c, rowBytes, spare } = block;
  f.for(0, depth, DEPTH_BLOCK, (k) => {
    const steps = f.let(minimum(f, i32.sub(depth, k), i32.const(DEPTH_BLOCK)));
    block.prepare?.(k, steps);
    f.for(block.columnFrom, block.columnTo, tile.columns, (column) => {
      const bPanel = f.let(block.panelOfB(column, k));
      f.for(block.rowFrom, block.rowTo, tile.rows, (row) => {
        f.set(job.a, i32.add(block.a, i32.shl(i32.add(i32.mul(row, depth), i32.mul(k, tile.rows)), 2)));
        f.set(job.b, bPanel);
        f.set(job.steps, steps);
        multiplyTile(job);
        const target = f.let(i32.add(c, i32.add(i32.mul(row, rowBytes), i32.shl(column, 2))));
        const usedRows = f.let(minimum(f, i32.sub(block.rowTo, row), i32.const(tile.rows)));
        const usedColumns = f.let(minimum(f, i32.sub(block.columnTo, column), i32.const(tile.columns)));
        const isWhole = i32.and(i32.eq(usedRows, tile.rows), i32.eq(usedColumns, tile.columns));
        const isDirect = f.let(i32.and(i32.eqz(k), isWhole));
        storeTile(job, {
          target: f.let(select(isDirect, target, spare)),
          rowBytes: f.let(select(isDirect, rowBytes, i32.const(tile.columns * 4))),
        });
        f.if(i32.eqz(isDirect), () =>
          moveTile(job, { spare, target, rowBytes, usedRows, usedColumns, isFirst: i32.eqz(k) }),
        );
      });
    });
  });
}

export function minimum(f: FunctionBuilder, x: Value<"i32">, y: Value<"i32">): Value<"i32"> {
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
  readonly spare: Address;
  readonly target: Address;
  readonly rowBytes: Address;
  readonly usedRows: Address;
  readonly usedColumns: Address;
  readonly isFirst: Value<"i32">;
}

/** Takes the used part of the spare tile to C: stores it in the first pass over the depth, adds it in later ones. */
function moveTile(
  { f, tile }: TileJob,
  { spare, target, rowBytes, usedRows, usedColumns, isFirst }: Move,
): void {
  const first = f.let(isFirst);
  f.for(0, usedRows, 1, (row) => {
    const from = f.let(i32.add(spare, i32.mul(row, tile.columns * 4)));
    const to = f.let(i32.add(target, i32.mul(row, rowBytes)));
    f.if(
      first,
      () => moveRow(f, { from, to, count: usedColumns, isAdded: false }),
      () => moveRow(f, { from, to, count: usedColumns, isAdded: true }),
    );
  });
}

interface RowMove {
  readonly from: Address;
  readonly to: Address;
  readonly count: Address;
  readonly isAdded: boolean;
}

function moveRow(f: FunctionBuilder, { from, to, count, isAdded }: RowMove): void {
  const column = f.let(i32.const(0));
  const advance = (bytes: number) => {
    f.increase(from, bytes);
    f.increase(to, bytes);
  };
  f.advance(column, i32.sub(count, 3), 4, () => {
    f.store("v128", to, isAdded ? f32x4.add(v128.load(to), v128.load(from)) : v128.load(from));
    advance(16);
  });
  f.advance(column, count, 1, () => {
    f.store("f32", to, isAdded ? f32.add(f32.load(to), f32.load(from)) : f32.load(from));
    advance(4);
  });
}
