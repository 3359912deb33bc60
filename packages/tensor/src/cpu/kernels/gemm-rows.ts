import { assemble, type FunctionBuilder } from "../../wasm/assembler.js";
import { f32, i32 } from "../../wasm/scalar.js";
import { f32x4, v128 } from "../../wasm/simd.js";
import type { Local, Value } from "../../wasm/value.js";
import type { CpuFeatures, KernelModule } from "../kernel.js";
import { elementBytes, loadFour, loadOne, loadSplat, type MatrixDType } from "./gemm-load.js";

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
  readonly madd: (a: Value<"v128">, b: Value<"v128">, c: Value<"v128">) => Value<"v128">;
  readonly columns: Address;
  readonly depth: Address;
  /** Addresses of the unit's matrices. */
  readonly a: Address;
  readonly b: Address;
  readonly c: Address;
}

/** Columns that one unit of the transposed product takes. */
export const LINE_UNIT = 4;

/**
 * Module of C[rows, N] = A[rows, K] B[N, K]^T for few rows: dot products along K, four columns a unit.
 *
 * `run(a, b, c, columns, depth, extent1, extent2, aStride0..2, bStride0..2, groups, begin, end)` with groups =
 * ceil(columns / 4): unit u is group u % groups of matrix floor(u / groups).
 */
export function fewRowsByLinesModule(format: FewRowsFormat, features: CpuFeatures): KernelModule {
  return fewRowsModule("lines", format, features);
}

/**
 * Module of C[rows, N] = A[rows, K] B[K, N] for few rows: rows of B stream by and are added into C.
 *
 * Same arguments as the module by lines; a group is a run of `columnsPerGroup` columns, passed before `begin`.
 */
export function fewRowsByDepthsModule(format: FewRowsFormat, features: CpuFeatures): KernelModule {
  return fewRowsModule("depths", format, features);
}

function fewRowsModule(
  order: "lines" | "depths",
  format: FewRowsFormat,
  features: CpuFeatures,
): KernelModule {
  const { relaxedSimd, sharedMemory } = features;
  const { rows, aDType, bDType } = format;
  return {
    key: `gemm-rows:${order}:${rows}:${aDType}:${bDType}:${relaxedSimd ? "fma" : "mul"}:${sharedMemory ? "shared" : "own"}`,
    emit: () => assemble({ sharedMemory }, (f) => emitUnits(f, { order, format, isFused: relaxedSimd })),
  };
}

function emitUnits(
  f: FunctionBuilder,
  options: { readonly order: "lines" | "depths"; readonly format: FewRowsFormat; readonly isFused: boolean },
): void {
  const { order, format, isFused } = options;
  const next = () => f.param("i32");
  const [a, b, c, columns, depth, extent1, extent2] = [
    next(),
    next(),
    next(),
    next(),
    next(),
    next(),
    next(),
  ];
  const [a0, a1, a2, b0, b1, b2, groups, groupColumns] = [
    next(),
    next(),
    next(),
    next(),
    next(),
    next(),
    next(),
    next(),
  ];
  const [begin, end] = [next(), next()];
  f.for(begin, end, 1, (unit) => {
    const matrix = f.let(i32.divU(unit, groups));
    const group = f.let(i32.remU(unit, groups));
    const outer = f.let(i32.divU(matrix, extent2));
    const index0 = f.let(i32.divU(outer, extent1));
    const index1 = f.let(i32.remU(outer, extent1));
    const index2 = f.let(i32.remU(matrix, extent2));
    const matrixOf = (s0: Address, s1: Address, s2: Address) =>
      i32.add(i32.mul(index0, s0), i32.add(i32.mul(index1, s1), i32.mul(index2, s2)));
    const aBytes = i32.mul(depth, format.rows * elementBytes(format.aDType));
    const bBytes = i32.mul(i32.mul(columns, depth), elementBytes(format.bDType));
    const job: FewRowsJob = {
      ...format,
      f,
      madd: (x, y, z) => (isFused ? f32x4.relaxedMadd(x, y, z) : f32x4.add(f32x4.mul(x, y), z)),
      columns,
      depth,
      a: f.let(i32.add(a, i32.mul(matrixOf(a0, a1, a2), aBytes))),
      b: f.let(i32.add(b, i32.mul(matrixOf(b0, b1, b2), bBytes))),
      c: f.let(i32.add(c, i32.mul(matrix, i32.mul(columns, format.rows * 4)))),
    };
    if (order === "lines") emitLineGroup(job, f.let(i32.mul(group, LINE_UNIT)));
    else emitDepthGroup(job, f.let(i32.mul(group, groupColumns)), groupColumns);
  });
}

/** Four columns at once where they exist, then one by one; with many rows two at once, so that the sums fit registers. */
function emitLineGroup(job: FewRowsJob, column: Address): void {
  const { f, rows, columns } = job;
  const width = rows <= 4 ? 4 : 2;
  const last = f.let(i32.add(column, LINE_UNIT));
  f.if(i32.gtS(last, columns), () => f.set(last, columns));
  f.advance(column, i32.sub(last, width - 1), width, () => dotColumns(job, column, width));
  f.advance(column, last, 1, () => dotColumns(job, column, 1));
}

/** `width` columns of C: every row of A against `width` lines of B, 8 depths a round. */
function dotColumns(job: FewRowsJob, column: Address, width: number): void {
  const { f, rows, columns, depth, aDType, bDType, madd } = job;
  const [aBytes, bBytes] = [elementBytes(aDType), elementBytes(bDType)];
  const lines = Array.from({ length: width }, (_, n) =>
    f.let(i32.add(job.b, i32.mul(i32.mul(i32.add(column, n), depth), bBytes))),
  );
  const aRows = Array.from({ length: rows }, (_, m) => f.let(i32.add(job.a, i32.mul(depth, m * aBytes))));
  const halves = rows * width <= 8 ? 2 : 1;
  const sums = Array.from({ length: rows * width * halves }, () => f.local("v128"));
  for (const sum of sums) f.set(sum, f32x4.splat(0));
  const round = halves * 4;
  const k = f.let(i32.const(0));
  f.advance(k, i32.sub(depth, round - 1), round, () => {
    for (let half = 0; half < halves; half++) {
      const bVectors = lines.map((line) => loadFour(f, bDType, line, half * 4 * bBytes));
      for (const [m, row] of aRows.entries()) {
        const aVector = loadFour(f, aDType, row, half * 4 * aBytes);
        for (const [n, bVector] of bVectors.entries()) {
          const sum = sums[(m * width + n) * halves + half];
          if (sum !== undefined) f.set(sum, madd(aVector, bVector, sum));
        }
      }
    }
    for (const line of lines) f.increase(line, round * bBytes);
    for (const row of aRows) f.increase(row, round * aBytes);
  });
  const totals = Array.from({ length: rows * width }, (_, i) =>
    f.let(addLanes(f, sums.slice(i * halves, (i + 1) * halves))),
  );
  f.advance(k, depth, 1, () => {
    for (const [m, row] of aRows.entries()) {
      for (const [n, line] of lines.entries()) {
        const total = totals[m * width + n];
        if (total !== undefined)
          f.set(total, f32.add(total, f32.mul(loadOne(f, aDType, row), loadOne(f, bDType, line))));
      }
      f.increase(row, aBytes);
    }
    for (const line of lines) f.increase(line, bBytes);
  });
  for (let m = 0; m < rows; m++) {
    const to = f.let(i32.add(job.c, i32.shl(i32.add(i32.mul(columns, m), column), 2)));
    for (let n = 0; n < width; n++) f.store("f32", to, totals[m * width + n] ?? 0, n * 4);
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
