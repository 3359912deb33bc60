import { sizeOf } from "../../shape.js";
import type { FunctionBuilder } from "../../wasm/assembler.js";
import { i32 } from "../../wasm/scalar.js";
import { f32x4, f64x2, i32x4, i64x2, v128 } from "../../wasm/simd.js";
import { type LaneMath, laneMath } from "../../wasm/simd-math.js";
import type { Local, Value } from "../../wasm/value.js";
import type { CpuFeatures, KernelStep, LoweredKernel } from "../kernel.js";
import { constantArguments, expressionKey, expressionLanes, splatConstants } from "./expression-lanes.js";
import { foldKind, laneFold } from "./fold.js";
import { argument, kernelStep, takeFrom } from "./kernel-step.js";
import { byteShift, type LaneWidth, loadLanes, storeLanes } from "./lanes.js";
import { innerMode, loadRow, type OperandRow, openRow, rowAddress } from "./operand-row.js";
import {
  countedLoop,
  epilogueArguments,
  finishKey,
  type ReductionPlan,
  storeFinished,
} from "./reduction-plan.js";
import {
  type StridedShape,
  splitLastAxis,
  stridedLoop,
  stridedParameters,
  stridedSizes,
} from "./strided-loop.js";

/** Rows that one unit adds up in f32; fixed, so that results do not depend on the number of threads. */
const chunkRows = 64;
/** Rows read side by side: as many streams as the processor's prefetcher follows. */
const blockRows = 8;
/** Columns of one unit, and of one pass over a block of rows (eight vectors stay in registers). */
const stripColumns = 1024;
const passVectors = 8;

/**
 * Reduces outer axes while the innermost one is kept: vectors run along the columns. A unit folds up to 64 rows of a strip of
 * columns into scratch memory, eight at a time; a second step joins the partial rows (sums in float64). Up to eight rows are
 * folded straight into the output.
 */
export function reduceColumns(plan: ReductionPlan, features: CpuFeatures): LoweredKernel {
  const columns = splitLastAxis(plan.kept);
  const rows = splitLastAxis(plan.reduced);
  const numStrips = Math.ceil(columns.extent / stripColumns);
  const chunks: StridedShape = {
    shape: [...rows.outer.shape, Math.ceil(rows.extent / chunkRows)],
    strides: rows.outer.strides.map((moves, k) => [...moves, (rows.innerStrides[k] ?? 0) * chunkRows]),
  };
  const strips: StridedShape = {
    shape: [numStrips],
    strides: columns.innerStrides.map((stride) => [stride * stripColumns]),
  };
  const loop = partialRowsLoop([columns.outer, chunks, strips], columns.extent);
  const numPartials = sizeOf(chunks.shape);
  const isWhole = numPartials === 1 && rows.extent <= blockRows;
  const first = foldStep(plan, {
    loop,
    numRows: rows.extent,
    numColumns: columns.extent,
    rowStrides: rows.innerStrides,
    columnStrides: columns.innerStrides,
    isWhole,
    features,
  });
  if (isWhole) return { steps: [first], scratchBytes: 0 };
  const numOuter = sizeOf(columns.outer.shape);
  const join = joinRowsStep(plan, { numOuter, numPartials, numColumns: columns.extent, features });
  return { steps: [first, join], scratchBytes: numOuter * numPartials * columns.extent * 4 };
}

/** The loop over units; its last operand is the position of the unit's partial row: [outer, chunk, column]. */
function partialRowsLoop(parts: readonly StridedShape[], numColumns: number): StridedShape {
  const { shape, strides } = countedLoop(parts);
  const rowsFirst =
    countedLoop([{ shape: [...shape.slice(0, -1), numColumns], strides: [] }]).strides.at(-1) ?? [];
  return { shape, strides: [...strides.slice(0, -1), [...rowsFirst.slice(0, -1), stripColumns]] };
}

interface FoldLoop {
  readonly loop: StridedShape;
  readonly numRows: number;
  readonly numColumns: number;
  readonly rowStrides: readonly number[];
  readonly columnStrides: readonly number[];
  readonly isWhole: boolean;
  readonly features: CpuFeatures;
}

/** One unit = up to 64 rows of one strip. */
function foldStep(plan: ReductionPlan, fold: FoldLoop): KernelStep {
  const { reduction, inputs } = plan;
  const { loop, isWhole, features } = fold;
  const modes = fold.columnStrides.map(innerMode);
  const rank = loop.shape.length;
  const constants = constantArguments(reduction.prologue);
  const finish = isWhole ? finishKey(plan) : "partial";
  return kernelStep(
    {
      key: `reduceColumns/${plan.combine}/${expressionKey(reduction.prologue)}/${inputs}/${modes}/${rank}/${finish}`,
      features,
      args: [
        ...inputs.map((_, k) => argument.buffer(k)),
        isWhole ? argument.buffer(inputs.length) : argument.scratch(0),
        ...[fold.numRows, fold.numColumns, ...fold.rowStrides, ...fold.columnStrides].map(argument.i32),
        ...stridedSizes(loop).map(argument.i32),
        ...constants,
        ...(isWhole ? epilogueArguments(plan) : []),
      ],
      units: sizeOf(loop.shape),
      grain: 32768 / (Math.min(fold.numRows, chunkRows) * Math.min(fold.numColumns, stripColumns) + 16),
    },
    (f, parameters, range) => {
      const take = takeFrom(parameters);
      const pointers = take(inputs.length) as Local<"i32">[];
      const [output, numRows, numColumns] = take(3) as [Local<"i32">, Local<"i32">, Local<"i32">];
      const rowStrides = take(inputs.length) as Local<"i32">[];
      const columnStrides = take(inputs.length) as Local<"i32">[];
      const operands = inputs.length + 1;
      const sizes = stridedParameters(take(rank * (operands + 1)) as Local<"i32">[], { rank, operands });
      const prologueConstants = splatConstants(f, take(constants.length));
      const epilogueConstants = splatConstants(f, take(isWhole ? epilogueArguments(plan).length : 0));
      const math = laneMath(f, features);
      stridedLoop(f, range, sizes, ({ indices, offsets }) => {
        const left = (total: Local<"i32">, index: Value<"i32"> | undefined, most: number) => {
          const count = f.let(i32.sub(total, i32.mul(index ?? 0, most)));
          f.if(i32.gtS(count, most), () => f.set(count, most));
          return count;
        };
        const rows = inputs.map((dtype, k) =>
          openRow(
            f,
            { dtype, mode: modes[k] ?? "strided", isInput: false },
            {
              base: pointers[k] ?? output,
              offset: offsets[k] ?? output,
              innerStride: columnStrides[k] ?? output,
            },
          ),
        );
        const target = offsets.at(-1) ?? output;
        const partials = f.let(i32.add(output, i32.shl(target, 2)));
        const finishAt = (column: Local<"i32">, totals: Local<"v128">, width: LaneWidth) => {
          const position = i32.add(target, column);
          storeFinished(f, plan, totals, { output, position, math, constants: epilogueConstants, width });
        };
        foldStrip(f, plan, {
          rows,
          rowBytes: inputs.map((dtype, k) => f.let(i32.shl(rowStrides[k] ?? 0, byteShift(dtype)))),
          numRows: left(numRows, indices.at(-2), chunkRows),
          numColumns: left(numColumns, indices.at(-1), stripColumns),
          math,
          constants: prologueConstants,
          ...(isWhole ? { finishAt } : { partials }),
        });
      });
    },
  );
}

interface Strip {
  readonly rows: readonly OperandRow[];
  readonly rowBytes: readonly Local<"i32">[];
  readonly numRows: Local<"i32">;
  readonly numColumns: Local<"i32">;
  readonly math: LaneMath;
  readonly constants: readonly Local<"v128">[];
  /** Where the folded rows go: to the output, or joined to what scratch memory holds. */
  readonly finishAt?: (column: Local<"i32">, totals: Local<"v128">, width: LaneWidth) => void;
  readonly partials?: Local<"i32">;
}

/** Folds the rows of a strip, a block of them at a time. */
function foldStrip(f: FunctionBuilder, plan: ReductionPlan, strip: Strip): void {
  const { rows, rowBytes, numRows, partials } = strip;
  if (!partials) {
    foldBlock(f, plan, strip);
    return;
  }
  eachColumn(f, strip.numColumns, ({ column, vectors, width }) => {
    const address = f.let(i32.add(partials, i32.shl(column, 2)));
    for (let k = 0; k < vectors; k++) {
      const start = laneFold(plan.combine, foldKind(plan.valueDtype)).start;
      storeLanes(f, "f32", address, { value: start, width, byteOffset: 16 * k });
    }
  });
  f.for(0, numRows, blockRows, (first) => {
    const count = f.let(i32.sub(numRows, first));
    f.if(i32.gtS(count, blockRows), () => f.set(count, blockRows));
    foldBlock(f, plan, { ...strip, numRows: count });
    rows.forEach((row, k) => {
      f.increase(row.pointer, i32.mul(rowBytes[k] ?? 0, blockRows));
    });
  });
}

interface Columns {
  readonly column: Local<"i32">;
  readonly vectors: number;
  readonly width: LaneWidth;
}

/** Visits columns: 32 at a time, then 4, then 1. */
function eachColumn(f: FunctionBuilder, numColumns: Local<"i32">, body: (at: Columns) => void): void {
  const column = f.let(i32.const(0));
  const pass = (vectors: number, width: LaneWidth) => () => body({ column, vectors, width });
  f.advance(column, i32.sub(numColumns, 4 * passVectors - 1), 4 * passVectors, pass(passVectors, 4));
  f.advance(column, i32.sub(numColumns, 3), 4, pass(1, 4));
  f.advance(column, numColumns, 1, pass(1, 1));
}

/** Folds a few rows of every column. */
function foldBlock(f: FunctionBuilder, plan: ReductionPlan, strip: Strip): void {
  const { rows, rowBytes, numRows, numColumns, math, constants, finishAt, partials } = strip;
  const fold = laneFold(plan.combine, foldKind(plan.valueDtype));
  eachColumn(f, numColumns, ({ column, vectors, width }) => {
    const target = f.let(i32.add(partials ?? 0, i32.shl(column, 2)));
    const totals = Array.from({ length: vectors }, (_, k) =>
      partials ? loadLanes(f, "f32", target, { width, byteOffset: 16 * k }) : f.let(fold.start),
    );
    const lines = rows.map((row) => ({
      row,
      address: f.let(rowAddress(row, row.mode === "repeated" ? i32.const(0) : column)),
    }));
    f.for(0, numRows, 1, () => {
      const held = lines.map(({ row, address }) =>
        row.mode === "repeated" ? loadRow(f, row, address, { width: 1 }) : undefined,
      );
      totals.forEach((total, k) => {
        const inputs = lines.map(
          ({ row, address }, j) => held[j] ?? loadRow(f, row, address, { width, skip: 4 * k }),
        );
        const [value] = expressionLanes(f, math, plan.reduction.prologue, { inputs, constants });
        if (value) f.set(total, fold.join(total, value));
      });
      lines.forEach(({ address }, j) => {
        f.increase(address, rowBytes[j] ?? 0);
      });
    });
    totals.forEach((total, k) => {
      if (partials) storeLanes(f, "f32", target, { value: total, width, byteOffset: 16 * k });
      else finishAt?.(k === 0 ? column : f.let(i32.add(column, 4 * k)), total, width);
    });
  });
}

/** One unit = 64 columns of one output row: joins the partial rows in order. */
function joinRowsStep(
  plan: ReductionPlan,
  options: { numOuter: number; numPartials: number; numColumns: number; features: CpuFeatures },
): KernelStep {
  const { numOuter, numPartials, numColumns, features } = options;
  const kind = foldKind(plan.valueDtype);
  const isFloatSum = kind === "float" && plan.combine === "sum";
  const unitColumns = 64;
  const unitsPerRow = Math.ceil(numColumns / unitColumns);
  return kernelStep(
    {
      key: `joinRows/${plan.combine}/${kind}/${finishKey(plan)}`,
      features,
      args: [
        argument.scratch(0),
        argument.buffer(plan.inputs.length),
        ...[numPartials, numColumns, unitsPerRow].map(argument.i32),
        ...epilogueArguments(plan),
      ],
      units: numOuter * unitsPerRow,
      grain: 32768 / (unitColumns * numPartials),
    },
    (f, [partials, output, ...rest], { begin, end }) => {
      const take = takeFrom(rest);
      const [count, width, perRow] = take(3) as [Local<"i32">, Local<"i32">, Local<"i32">];
      const constants = splatConstants(f, take(epilogueArguments(plan).length));
      const math = laneMath(f, features);
      const join = isFloatSum ? sumPartialRows : foldPartialRows;
      f.for(begin, end, 1, (unit) => {
        const row = f.let(i32.divU(unit, perRow));
        const column = f.let(i32.mul(i32.remU(unit, perRow), unitColumns));
        const limit = f.let(i32.add(column, unitColumns));
        f.if(i32.gtS(limit, width), () => f.set(limit, width));
        const start = f.let(i32.add(partials, i32.shl(i32.mul(i32.mul(row, count), width), 2)));
        const pass = (lanes: LaneWidth) => () => {
          const address = f.let(i32.add(start, i32.shl(column, 2)));
          const totals = join(f, plan, { address, stride: f.let(i32.shl(width, 2)), count, width: lanes });
          const position = i32.add(i32.mul(row, width), column);
          storeFinished(f, plan, totals, { output, position, math, constants, width: lanes });
        };
        f.advance(column, f.let(i32.sub(limit, 3)), 4, pass(4));
        f.advance(column, limit, 1, pass(1));
      });
    },
  );
}

interface PartialRows {
  readonly address: Local<"i32">;
  readonly stride: Local<"i32">;
  readonly count: Local<"i32">;
  readonly width: LaneWidth;
}

function loadPartial(address: Local<"i32">, width: LaneWidth): Value<"v128"> {
  return width === 4 ? v128.load(address) : v128.load32Splat(address);
}

/** Sums one vector of columns over the partial rows in float64. */
function sumPartialRows(f: FunctionBuilder, _plan: ReductionPlan, rows: PartialRows): Local<"v128"> {
  const [low, high] = [f.let(f64x2.splat(0)), f.let(f64x2.splat(0))];
  f.for(0, rows.count, 1, () => {
    const partial = f.let(loadPartial(rows.address, rows.width));
    f.set(low, f64x2.add(low, f64x2.promoteLowF32x4(partial)));
    f.set(high, f64x2.add(high, f64x2.promoteLowF32x4(i32x4.shuffle(partial, partial, [2, 3, 2, 3]))));
    f.increase(rows.address, rows.stride);
  });
  return f.let(i64x2.shuffle(f32x4.demoteF64x2Zero(low), f32x4.demoteF64x2Zero(high), [0, 2]));
}

function foldPartialRows(f: FunctionBuilder, plan: ReductionPlan, rows: PartialRows): Local<"v128"> {
  const fold = laneFold(plan.combine, foldKind(plan.valueDtype));
  const totals = f.let(fold.start);
  f.for(0, rows.count, 1, () => {
    f.set(totals, fold.join(totals, loadPartial(rows.address, rows.width)));
    f.increase(rows.address, rows.stride);
  });
  return totals;
}
