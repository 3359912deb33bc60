import { assemble, type FunctionBuilder } from "../../wasm/assembler.js";
import { i32 } from "../../wasm/scalar.js";
import type { Local } from "../../wasm/value.js";
import type { CpuFeatures, KernelArgument, KernelModule } from "../kernel.js";
import { elementBytes } from "./gemm-load.js";
import { lineSteps, type PackFormat, packPanel } from "./gemm-pack.js";
import { DEPTH_BLOCK, minimum, multiplyBlock, type Tile, type TileBlock, tileJob } from "./gemm-tile.js";

/**
 * Arguments of the block modules, in the order in which `run` takes them before begin and end:
 * addresses (panels of A; B, packed or as stored; C; a spare tile a unit; room for packed blocks of B), what the launch
 * computes, a unit's share of it and the number of shares, where it lies in C and C's extents, the batch (extents of the two
 * inner axes, matrices to skip along each axis), and for stored B the elements from row to row and of one matrix.
 */
const argumentNames =
  "a b c spare blocksB rows columns depth paddedDepth rowBlock columnBlock rowBlocks columnBlocks firstRow firstColumn cRows cColumns extent1 extent2 a0 a1 a2 b0 b1 b2 strideB elementsB".split(
    " ",
  ) as readonly BlockArgument[];

export type BlockArgument =
  | "a"
  | "b"
  | "c"
  | "spare"
  | "blocksB"
  | "rows"
  | "columns"
  | "depth"
  | "paddedDepth"
  | "rowBlock"
  | "columnBlock"
  | "rowBlocks"
  | "columnBlocks"
  | "firstRow"
  | "firstColumn"
  | "cRows"
  | "cColumns"
  | "extent1"
  | "extent2"
  | "a0"
  | "a1"
  | "a2"
  | "b0"
  | "b1"
  | "b2"
  | "strideB"
  | "elementsB";

/** Puts named arguments into the order of `run`. */
export function blockArguments(named: Readonly<Record<BlockArgument, KernelArgument>>): KernelArgument[] {
  return argumentNames.map((name) => named[name]);
}

type Address = Local<"i32">;
type Parameters = Readonly<Record<BlockArgument, Address>>;

interface Job {
  readonly f: FunctionBuilder;
  readonly tile: Tile;
  readonly p: Parameters;
  /** How B is stored, where units pack their own part of it. */
  readonly stored: PackFormat | undefined;
}

/**
 * Module of C[M, N] = A[M, K] B[K, N] over packed panels of A, for a batch of matrices. A unit is one block of
 * rowBlock x columnBlock of one matrix of C.
 *
 * Without `stored`, B is packed too. With it every unit packs its columns of B itself, `DEPTH_BLOCK` depths at a time, into
 * `blocksB` (one block a unit, of which each call of `run` uses its first unit's): B is then read once and its packed form
 * never leaves the cache. Worth it while C has few rows.
 */
export function blockModule(tile: Tile, stored: PackFormat | undefined, features: CpuFeatures): KernelModule {
  const { relaxedSimd, sharedMemory } = features;
  const source =
    stored === undefined ? "packed" : `${stored.dtype}-${stored.isLineContiguous ? "lines" : "depths"}`;
  const flags = `${relaxedSimd ? "fma" : "mul"}:${sharedMemory ? "shared" : "own"}`;
  return {
    key: `gemm-block:${tile.rows}x${tile.columns}:${source}:${flags}`,
    emit: () => assemble({ sharedMemory }, (f) => emitUnits(f, { tile, stored, features })),
  };
}

function emitUnits(
  f: FunctionBuilder,
  options: { readonly tile: Tile; readonly stored: PackFormat | undefined; readonly features: CpuFeatures },
): void {
  const { tile, stored, features } = options;
  const p = Object.fromEntries(argumentNames.map((name) => [name, f.param("i32")])) as Parameters;
  const [begin, end] = [f.param("i32"), f.param("i32")];
  const registers = tileJob(f, tile, features);
  const job: Job = { f, tile, p, stored };
  f.for(begin, end, 1, (unit) => {
    const blocks = f.let(i32.mul(p.rowBlocks, p.columnBlocks));
    const matrix = f.let(i32.divU(unit, blocks));
    const block = f.let(i32.sub(unit, i32.mul(matrix, blocks)));
    const rowFrom = f.let(i32.mul(i32.divU(block, p.columnBlocks), p.rowBlock));
    const columnFrom = f.let(i32.mul(i32.remU(block, p.columnBlocks), p.columnBlock));
    const cRow = i32.add(i32.mul(matrix, p.cRows), p.firstRow);
    const operands = matricesOf(job, matrix);
    multiplyBlock(registers, {
      rowFrom,
      rowTo: f.let(minimum(f, i32.add(rowFrom, p.rowBlock), p.rows)),
      columnFrom,
      columnTo: f.let(minimum(f, i32.add(columnFrom, p.columnBlock), p.columns)),
      depth: p.paddedDepth,
      a: operands.a,
      c: f.let(i32.add(p.c, i32.shl(i32.add(i32.mul(cRow, p.cColumns), p.firstColumn), 2))),
      rowBytes: f.let(i32.shl(p.cColumns, 2)),
      spare: f.let(i32.add(p.spare, i32.mul(unit, tile.rows * tile.columns * 4))),
      ...(stored === undefined
        ? packedB(job, operands.b)
        : storedB(job, { format: stored, matrix: operands.b, columnFrom, begin })),
    });
  });
}

/** Addresses of the matrices of A and B that belong to matrix number `matrix` of C. */
function matricesOf(
  { f, tile, p, stored }: Job,
  matrix: Address,
): { readonly a: Address; readonly b: Address } {
  const outer = f.let(i32.divU(matrix, p.extent2));
  const index0 = f.let(i32.divU(outer, p.extent1));
  const index1 = f.let(i32.remU(outer, p.extent1));
  const index2 = f.let(i32.remU(matrix, p.extent2));
  const matrixOf = (s0: Address, s1: Address, s2: Address) =>
    i32.add(i32.mul(index0, s0), i32.add(i32.mul(index1, s1), i32.mul(index2, s2)));
  const panelled = (extent: Address, lines: number) =>
    i32.mul(i32.mul(i32.divU(i32.add(extent, lines - 1), lines), p.paddedDepth), lines * 4);
  const bytesB =
    stored === undefined
      ? panelled(p.columns, tile.columns)
      : i32.mul(p.elementsB, elementBytes(stored.dtype));
  return {
    a: f.let(i32.add(p.a, i32.mul(matrixOf(p.a0, p.a1, p.a2), panelled(p.rows, tile.rows)))),
    b: f.let(i32.add(p.b, i32.mul(matrixOf(p.b0, p.b1, p.b2), bytesB))),
  };
}

function packedB({ tile, p }: Job, matrix: Address): Pick<TileBlock, "panelOfB"> {
  return {
    panelOfB: (column, k) =>
      i32.add(matrix, i32.shl(i32.add(i32.mul(column, p.paddedDepth), i32.mul(k, tile.columns)), 2)),
  };
}

interface StoredMatrix {
  readonly format: PackFormat;
  readonly matrix: Address;
  readonly columnFrom: Address;
  /** First unit of this call of `run`. */
  readonly begin: Address;
}

function storedB(
  { f, tile, p }: Job,
  { format, matrix, columnFrom, begin }: StoredMatrix,
): Pick<TileBlock, "panelOfB" | "prepare"> {
  const room = f.let(i32.add(p.blocksB, i32.mul(i32.mul(begin, p.columnBlock), DEPTH_BLOCK * 4)));
  const steps = lineSteps(f, format, p.strideB);
  const roomOf = (column: Address) => i32.add(room, i32.mul(i32.sub(column, columnFrom), DEPTH_BLOCK * 4));
  return {
    prepare(k, paddedDepth) {
      const depth = f.let(minimum(f, i32.sub(p.depth, k), paddedDepth));
      const last = f.let(minimum(f, i32.add(columnFrom, p.columnBlock), p.columns));
      const corner = i32.add(matrix, i32.mul(p.firstColumn, steps.lineBytes));
      const source = f.let(i32.add(corner, i32.mul(k, steps.depthBytes)));
      f.for(columnFrom, last, tile.columns, (column) =>
        packPanel(f, format, {
          ...steps,
          source: f.let(i32.add(source, i32.mul(column, steps.lineBytes))),
          target: f.let(roomOf(column)),
          used: f.let(i32.sub(p.columns, column)),
          depth,
          paddedDepth,
        }),
      );
    },
    panelOfB: (column) => roomOf(column),
  };
}
