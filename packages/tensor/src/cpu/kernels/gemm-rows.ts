import { assemble, type FunctionBuilder } from "../../wasm/assembler.js";
import { f32, i32 } from "../../wasm/scalar.js";
import { f32x4, v128 } from "../../wasm/simd.js";
import type { Local, Value } from "../../wasm/value.js";
import type { CpuFeatures, KernelArgument, KernelModule } from "../kernel.js";
import {
  elementBytes,
  loadFiniteHalves,
  loadFour,
  loadOne,
  loadSplat,
  type MatrixDType,
} from "./gemm-load.js";

/** Products of up to this many rows run unpacked: they are bound by reading B once. */
export const MAX_FEW_ROWS = 8;

export interface FewRowsFormat {
  /** Rows of A: 1..MAX_FEW_ROWS. */
  readonly rows: number;
  readonly aDType: MatrixDType;
  readonly bDType: MatrixDType;
}

type Address = Local<"i32">;

interface FewRowsJob extends FewRowsFormat {
  readonly f: FunctionBuilder;
  /** Whether the engine joins pairs of vectors. */
  readonly isJoined: boolean;
  readonly madd: (a: Value<"v128">, b: Value<"v128">, c: Value<"v128">) => Value<"v128">;
  readonly columns: Address;
  readonly depth: Address;
  /** Addresses of the unit's matrices. */
  readonly a: Address;
  readonly b: Address;
  readonly c: Address;
  /** Room for the sums of one tile. */
  readonly spare: Address;
}

/** Columns that one unit of the transposed product takes. */
export const LINE_UNIT = 8;
/** Scratch bytes of one unit of the transposed product: eight sums of two vectors. */
export const LINE_UNIT_BYTES = 256;

/** Arguments of `run` before begin and end, in order; those of the batch as in gemm-blocks.ts. */
const argumentNames = [
  ...(["a", "b", "c", "spare", "columns", "depth", "groups", "groupColumns"] as const),
  ...(["extent1", "extent2", "a0", "a1", "a2", "b0", "b1", "b2"] as const),
] as const;

type FewRowsArgument = (typeof argumentNames)[number];

/** Puts named arguments into the order of `run`. */
export function fewRowsArguments(named: Readonly<Record<FewRowsArgument, KernelArgument>>): KernelArgument[] {
  return argumentNames.map((name) => named[name]);
}

/**
 * Module of C[rows, N] = A[rows, K] B for few rows, B read as it is stored: by `lines` (B [N, K], dot products along K) or by
 * `depths` (B [K, N], whose rows stream by and are added into C).
 *
 * Unit u is group u % groups of matrix floor(u / groups); a group has `groupColumns` columns, LINE_UNIT of them by lines.
 */
export function fewRowsModule(
  order: "lines" | "depths",
  format: FewRowsFormat,
  features: CpuFeatures,
): KernelModule {
  const { relaxedSimd, revectorized, sharedMemory } = features;
  const { rows, aDType, bDType } = format;
  const flags = `${relaxedSimd ? "fma" : "mul"}:${revectorized ? 256 : 128}:${sharedMemory ? "shared" : "own"}`;
  return {
    key: `gemm-rows:${order}:${rows}:${aDType}:${bDType}:${flags}`,
    emit: () => assemble({ sharedMemory }, (f) => emitUnits(f, { order, format, features })),
  };
}

interface UnitOptions {
  readonly order: "lines" | "depths";
  readonly format: FewRowsFormat;
  readonly features: CpuFeatures;
}

function emitUnits(f: FunctionBuilder, { order, format, features }: UnitOptions): void {
  const p = Object.fromEntries(argumentNames.map((name) => [name, f.param("i32")])) as Readonly<
    Record<FewRowsArgument, Address>
  >;
  const [begin, end] = [f.param("i32"), f.param("i32")];
  f.for(begin, end, 1, (unit) => {
    const matrix = f.let(i32.divU(unit, p.groups));
    const group = i32.remU(unit, p.groups);
    const outer = f.let(i32.divU(matrix, p.extent2));
    const index0 = f.let(i32.divU(outer, p.extent1));
    const index1 = f.let(i32.remU(outer, p.extent1));
    const index2 = f.let(i32.remU(matrix, p.extent2));
    const matrixOf = (s0: Address, s1: Address, s2: Address) =>
      i32.add(i32.mul(index0, s0), i32.add(i32.mul(index1, s1), i32.mul(index2, s2)));
    const aBytes = i32.mul(p.depth, format.rows * elementBytes(format.aDType));
    const bBytes = i32.mul(i32.mul(p.columns, p.depth), elementBytes(format.bDType));
    const job: FewRowsJob = {
      ...format,
      f,
      isJoined: features.revectorized,
      madd: (x, y, z) => (features.relaxedSimd ? f32x4.relaxedMadd(x, y, z) : f32x4.add(f32x4.mul(x, y), z)),
      columns: p.columns,
      depth: p.depth,
      a: f.let(i32.add(p.a, i32.mul(matrixOf(p.a0, p.a1, p.a2), aBytes))),
      b: f.let(i32.add(p.b, i32.mul(matrixOf(p.b0, p.b1, p.b2), bBytes))),
      c: f.let(i32.add(p.c, i32.mul(matrix, i32.mul(p.columns, format.rows * 4)))),
      // The first unit's room serves the whole call, so that it stays in the cache.
      spare: f.let(i32.add(p.spare, i32.mul(begin, LINE_UNIT_BYTES))),
    };
    const column = f.let(i32.mul(group, p.groupColumns));
    if (order === "lines") emitLineGroup(job, column);
    else emitDepthGroup(job, column, p.groupColumns);
  });
}

/** Rows and columns whose dot products one loop keeps in registers. */
interface DotTile {
  readonly firstRow: number;
  readonly rows: number;
  readonly columns: number;
  /** From each column to the next. */
  readonly apart: Address | 1;
}

/**
 * A few columns at once, for up to four rows at a time.
 *
 * Where all units are whole they lie as far apart as they can: then each stream of memory goes on where it was when the next
 * columns follow. Neighbouring columns would have every stream jump over the others after each, which costs up to two thirds
 * of the speed of reading. Else they are neighbours, and those left over go one by one.
 */
function emitLineGroup(job: FewRowsJob, column: Address): void {
  const { f, rows, columns } = job;
  const width = rows <= 2 ? 4 : 2;
  const eachRowGroup = (from: Address, tile: Pick<DotTile, "columns" | "apart">) => {
    for (let firstRow = 0; firstRow < rows; firstRow += 4) {
      dotTile(job, from, { firstRow, rows: Math.min(4, rows - firstRow), ...tile });
    }
  };
  const spread = () => {
    const from = f.let(i32.divU(column, width));
    const apart = f.let(i32.divU(columns, width));
    const to = f.let(i32.add(from, LINE_UNIT / width));
    f.advance(from, to, 1, () => eachRowGroup(from, { columns: width, apart }));
  };
  const together = () => {
    const last = f.let(i32.add(column, LINE_UNIT));
    f.if(i32.gtS(last, columns), () => f.set(last, columns));
    f.advance(column, i32.sub(last, width - 1), width, () =>
      eachRowGroup(column, { columns: width, apart: 1 }),
    );
    f.advance(column, last, 1, () => eachRowGroup(column, { columns: 1, apart: 1 }));
  };
  f.if(i32.remU(columns, LINE_UNIT), together, spread);
}

/** Rows of A against columns of B^T, all along K: 8 depths a round where the registers allow it, else 4. */
function dotTile(job: FewRowsJob, column: Address, tile: DotTile): void {
  const { f, depth, aDType, bDType, madd } = job;
  const [aBytes, bBytes] = [elementBytes(aDType), elementBytes(bDType)];
  const lines = Array.from({ length: tile.columns }, (_, n) =>
    f.let(i32.add(job.b, i32.mul(i32.mul(i32.add(column, i32.mul(tile.apart, n)), depth), bBytes))),
  );
  const aRows = Array.from({ length: tile.rows }, (_, m) =>
    f.let(i32.add(job.a, i32.mul(depth, (tile.firstRow + m) * aBytes))),
  );
  const products = tile.rows * tile.columns;
  const halves = job.isJoined || products <= 4 ? 2 : 1;
  const sums = Array.from({ length: products * halves }, () => f.local("v128"));
  for (const sum of sums) f.set(sum, f32x4.splat(0));
  const round = halves * 4;
  const k = f.let(i32.const(0));
  const addRounds = (load: LoadWeights, sizes?: readonly Local<"v128">[]) =>
    f.advance(k, i32.sub(depth, round - 1), round, () => {
      for (let half = 0; half < halves; half++) {
        const bVectors = lines.map((line) => load(line, half * 4 * bBytes));
        for (const [m, row] of aRows.entries()) {
          const aVector = loadFour(f, aDType, row, half * 4 * aBytes);
          for (const [n, bVector] of bVectors.entries()) {
            const sum = sums[(m * tile.columns + n) * halves + half];
            if (sum !== undefined) f.set(sum, madd(aVector, bVector, sum));
          }
        }
        for (const [n, bVector] of bVectors.entries()) {
          const size = sizes?.[n * halves + half];
          if (size !== undefined) f.set(size, madd(bVector, bVector, size));
        }
      }
      for (const line of lines) f.increase(line, round * bBytes);
      for (const row of aRows) f.increase(row, round * aBytes);
    });
  const exactly: LoadWeights = (line, byteOffset) => loadFour(f, bDType, line, byteOffset);
  if (bDType === "f16" && job.rows === 1) {
    const sizes = sums.map(() => f.local("v128"));
    for (const size of sizes) f.set(size, f32x4.splat(0));
    addRounds((line, byteOffset) => loadFiniteHalves(f, line, byteOffset), sizes);
    f.if(mayBeSpecial(job, sizes), () => {
      for (const line of lines) f.increase(line, i32.mul(k, -bBytes));
      for (const row of aRows) f.increase(row, i32.mul(k, -aBytes));
      f.set(k, 0);
      for (const sum of sums) f.set(sum, f32x4.splat(0));
      addRounds(exactly);
    });
  } else addRounds(exactly);
  const totals = addUp(job, sums, halves);
  f.advance(k, depth, 1, () => {
    for (const [m, row] of aRows.entries()) {
      for (const [n, line] of lines.entries()) {
        const total = totals[m * tile.columns + n];
        if (total !== undefined)
          f.set(total, f32.add(total, f32.mul(loadOne(f, aDType, row), loadOne(f, bDType, line))));
      }
      f.increase(row, aBytes);
    }
    for (const line of lines) f.increase(line, bBytes);
  });
  storeTotals(job, column, { tile, totals });
}

type LoadWeights = (line: Address, byteOffset: number) => Local<"v128">;

/**
 * Whether among the halves there may be an infinity or a NaN, which `loadFiniteHalves` takes for numbers from 2^16 on: their sums of
 * squares then are 2^32 at least. Other weights may be so large, too.
 */
function mayBeSpecial({ f, spare, isJoined }: FewRowsJob, sizes: readonly Local<"v128">[]): Value<"i32"> {
  if (isJoined) for (const [i, size] of sizes.entries()) f.store("v128", spare, size, i * 16);
  const parts = isJoined ? sizes.map((_, i) => v128.load(spare, i * 16)) : sizes;
  const total = parts.reduce<Value<"v128">>((x, y) => f32x4.add(x, y), f32x4.splat(0));
  return v128.anyTrue(f32x4.ge(total, 2 ** 32));
}

/** The sum of each product's lanes. Sums go through memory: the engine joins neighbouring vectors from such stores on. */
function addUp(job: FewRowsJob, sums: readonly Local<"v128">[], halves: number): Local<"f32">[] {
  const { f, spare, isJoined } = job;
  if (isJoined) for (const [i, sum] of sums.entries()) f.store("v128", spare, sum, i * 16);
  return Array.from({ length: sums.length / halves }, (_, i) => {
    const parts = isJoined
      ? Array.from({ length: halves }, (_, half) => v128.load(spare, (i * halves + half) * 16))
      : sums.slice(i * halves, (i + 1) * halves);
    return f.let(addLanes(f, parts));
  });
}

function storeTotals(
  { f, c, columns }: FewRowsJob,
  column: Address,
  { tile, totals }: { readonly tile: DotTile; readonly totals: readonly Local<"f32">[] },
): void {
  for (let m = 0; m < tile.rows; m++) {
    const to = f.let(i32.add(c, i32.shl(i32.add(i32.mul(columns, tile.firstRow + m), column), 2)));
    for (let n = 0; n < tile.columns; n++) {
      f.store("f32", i32.add(to, i32.mul(tile.apart, 4 * n)), totals[m * tile.columns + n] ?? 0);
    }
  }
}

function addLanes(f: FunctionBuilder, parts: readonly Value<"v128">[]): Value<"f32"> {
  const sum = f.let(parts.reduce((x, y) => f32x4.add(x, y)));
  const lane = (i: number) => f32x4.extract(sum, i);
  return f32.add(f32.add(lane(0), lane(2)), f32.add(lane(1), lane(3)));
}

/** Depths that one pass over a run of C takes: C is read and written once for so many rows of B. */
const DEPTHS_A_PASS = 4;

function emitDepthGroup(job: FewRowsJob, from: Address, groupColumns: Address): void {
  const { f, rows, columns, depth } = job;
  const to = f.let(i32.add(from, groupColumns));
  f.if(i32.gtS(to, columns), () => f.set(to, columns));
  for (let m = 0; m < rows; m++) {
    const bytes = i32.shl(i32.sub(to, from), 2);
    f.fillMemory(i32.add(job.c, i32.shl(i32.add(i32.mul(columns, m), from), 2)), 0, bytes);
  }
  const k = f.let(i32.const(0));
  f.advance(k, i32.sub(depth, DEPTHS_A_PASS - 1), DEPTHS_A_PASS, () =>
    addDepths(job, k, { from, to, depths: DEPTHS_A_PASS }),
  );
  f.advance(k, depth, 1, () => addDepths(job, k, { from, to, depths: 1 }));
}

/** C[:, from..to) += A[:, k..k+depths) B[k..k+depths, from..to). */
function addDepths(
  job: FewRowsJob,
  k: Address,
  { from, to, depths }: { readonly from: Address; readonly to: Address; readonly depths: number },
): void {
  const { f, rows, columns, depth, aDType, bDType, madd } = job;
  const [aBytes, bBytes] = [elementBytes(aDType), elementBytes(bDType)];
  const scalars = Array.from({ length: rows }, (_, m) => {
    const at = f.let(i32.add(job.a, i32.mul(i32.add(i32.mul(depth, m), k), aBytes)));
    return Array.from({ length: depths }, (_, d) => loadSplat(f, aDType, at, d * aBytes));
  });
  const lines = Array.from({ length: depths }, (_, d) =>
    f.let(i32.add(job.b, i32.mul(i32.add(i32.mul(i32.add(k, d), columns), from), bBytes))),
  );
  const cRows = Array.from({ length: rows }, (_, m) =>
    f.let(i32.add(job.c, i32.shl(i32.add(i32.mul(columns, m), from), 2))),
  );
  const column = f.let(i32.add(from, 0));
  f.advance(column, i32.sub(to, 7), 8, () => {
    const pairs = lines.map(
      (line) => [loadFour(f, bDType, line), loadFour(f, bDType, line, 4 * bBytes)] as const,
    );
    for (const [m, cRow] of cRows.entries()) {
      for (const half of [0, 1] as const) {
        const sum = f.let(v128.load(cRow, half * 16));
        for (const [d, pair] of pairs.entries())
          f.set(sum, madd(scalars[m]?.[d] ?? pair[half], pair[half], sum));
        f.store("v128", cRow, sum, half * 16);
      }
    }
    for (const line of lines) f.increase(line, 8 * bBytes);
    for (const cRow of cRows) f.increase(cRow, 32);
  });
  f.advance(column, to, 1, () => {
    for (const [m, cRow] of cRows.entries()) {
      const sum = f.let(f32.load(cRow));
      for (const [d, line] of lines.entries()) {
        const scalar = f32x4.extract(scalars[m]?.[d] ?? f32x4.splat(0), 0);
        f.set(sum, f32.add(f32.mul(scalar, loadOne(f, bDType, line)), sum));
      }
      f.store("f32", cRow, sum);
    }
    for (const line of lines) f.increase(line, bBytes);
    for (const cRow of cRows) f.increase(cRow, 4);
  });
}
