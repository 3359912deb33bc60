import type { OpCall } from "../../device.js";
import type { DType } from "../../dtype.js";
import { invariant } from "../../error.js";
import type { Expression } from "../../expression.js";
import { broadcastShapes, broadcastStrides, type Shape, sizeOf, type TensorType } from "../../shape.js";
import { assemble } from "../../wasm/assembler.js";
import { i32 } from "../../wasm/scalar.js";
import type { CpuFeatures, KernelArgument, KernelModule, KernelStep } from "../kernel.js";
import { type ElementwiseInput, elementwiseKernel } from "./elementwise.js";
import type { MatrixDType } from "./gemm-load.js";
import { DEPTH_UNROLL, packModule } from "./gemm-pack.js";
import { fewRowsByDepthsModule, fewRowsByLinesModule, LINE_UNIT, MAX_FEW_ROWS } from "./gemm-rows.js";
import { type Tile, tileFor, tileModule } from "./gemm-tile.js";
import { argument } from "./kernel-step.js";

/**
 * A matrix product C = A B with A [.., M, K] (or [.., K, M] if transposed) and B [.., K, N] (or [.., N, K]); the leading
 * axes broadcast. C is [.., M, N].
 */
export interface GemmProblem {
  readonly a: TensorType;
  readonly b: TensorType;
  readonly transposeA?: boolean;
  readonly transposeB?: boolean;
  /** dtype of C, rounded once from f32; default f32. With an epilogue that of its output. */
  readonly output?: MatrixDType;
  /** What becomes of the product before it is stored: a bias, an activation, a residual. */
  readonly epilogue?: GemmEpilogue;
  /** Most bytes of scratch for the packed part of one operand. Default 64 MiB. */
  readonly maxPackedBytes?: number;
}

/** An expression of one output over input 0 = the product (f32) and inputs 1.. = `inputs`, which broadcast to C. */
export interface GemmEpilogue {
  readonly expression: Expression;
  readonly inputs: readonly ElementwiseInput[];
}

export interface GemmSteps {
  readonly name: string;
  readonly steps: readonly KernelStep[];
  readonly scratchBytes: number;
}

const MAX_PACKED_BYTES = 64 * 1024 * 1024;
/** A thread of its own is worth it from about this many multiplications, which take a few microseconds. */
const GRAIN_PRODUCTS = 100_000;
const GRAIN_COPIED = 32_768;
/** Largest block of C that one unit computes: its share of A and of B stays in the second-level cache. */
const ROW_BLOCK = 96;
const COLUMN_BLOCK = 128;

const bufferA = argument.buffer(0);
const bufferB = argument.buffer(1);

/** One axis of the batch: how many, and how many matrices of A and B one step along it skips (0 where it repeats). */
interface BatchAxis {
  readonly extent: number;
  readonly strideA: number;
  readonly strideB: number;
}

interface Plan {
  readonly features: CpuFeatures;
  readonly rows: number;
  readonly columns: number;
  readonly depth: number;
  readonly transposeA: boolean;
  readonly transposeB: boolean;
  readonly aDType: MatrixDType;
  readonly bDType: MatrixDType;
  /** Exactly three axes, and the number of distinct matrices of each operand and of C. */
  readonly batch: readonly [BatchAxis, BatchAxis, BatchAxis];
  readonly matricesA: number;
  readonly matricesB: number;
  readonly matricesC: number;
  readonly maxPackedBytes: number;
  /** Where the f32 product goes: C itself, or scratch where C has another dtype. */
  readonly product: KernelArgument;
}

/**
 * Decides how a matrix product runs: few rows stream B unpacked; the rest is packed into panels and multiplied tile by tile
 * (Goto and van de Geijn 2008, "Anatomy of high-performance matrix multiplication").
 *
 * Buffers of the steps: A, B, the inputs of the epilogue, C. The result does not depend on the number of threads.
 * @returns undefined where the dtypes, the epilogue or a batch of more than three broadcast patterns have no kernel
 */
export function gemm(problem: GemmProblem, features: CpuFeatures): GemmSteps | undefined {
  const plan = planOf(problem, features);
  if (plan === undefined) return undefined;
  const name = `gemm ${plan.matricesC}x${plan.rows}x${plan.columns}x${plan.depth}`;
  const elements = plan.matricesC * plan.rows * plan.columns;
  if (elements === 0) return { name, steps: [], scratchBytes: 0 };
  const { steps, scratchBytes } = productSteps(plan);
  const finish = finishSteps(problem, plan);
  if (finish === undefined) return undefined;
  const productBytes = plan.product.kind === "scratch" ? alignUp(elements * 4) : 0;
  return { name, steps: [...steps, ...finish], scratchBytes: productBytes + scratchBytes };
}

/** The kernel of a `matmul` call, whose parameters say which operands are transposed. */
export function matmulKernel(
  { inputs: [a, b], params }: OpCall<{ readonly transposeA: boolean; readonly transposeB: boolean }>,
  features: CpuFeatures,
): GemmSteps | undefined {
  const output = a && matrixDType(a);
  if (a === undefined || b === undefined || output === undefined) return undefined;
  return gemm({ a, b, output, ...params }, features);
}

/** The f32 product. Its scratch begins after the product where that lies in scratch itself. */
function productSteps(plan: Plan): { readonly steps: KernelStep[]; readonly scratchBytes: number } {
  if (plan.depth === 0) return { steps: [zeroStep(plan)], scratchBytes: 0 };
  const isRowMajorA = !plan.transposeA || plan.rows === 1;
  if (plan.rows <= MAX_FEW_ROWS && isRowMajorA) return { steps: [fewRowsStep(plan)], scratchBytes: 0 };
  return packedSteps(plan);
}

/** What remains to be done to the product: the epilogue, or rounding to a narrower dtype. */
function finishSteps(problem: GemmProblem, plan: Plan): readonly KernelStep[] | undefined {
  const { epilogue, output = "f32" } = problem;
  if (epilogue === undefined && output === "f32") return [];
  const { matricesC, rows, columns, product, features } = plan;
  const shape = epilogue === undefined ? [matricesC * rows * columns] : problemShape(problem);
  const inputs = [{ dtype: "f32", shape } as const, ...(epilogue?.inputs ?? [])];
  const lowered = elementwiseKernel(epilogue?.expression ?? rounding(output), { inputs, shape }, features);
  // The kernel numbers its buffers product, inputs, output; here they are A, B, inputs, output.
  const replace = (arg: KernelArgument) => {
    if (arg.kind !== "buffer") return arg;
    return arg.index === 0 ? product : argument.buffer(arg.index + 1);
  };
  return lowered?.steps.map((step) => ({ ...step, args: step.args.map(replace) }));
}

function problemShape({ a, b, transposeA = false, transposeB = false }: GemmProblem): number[] {
  const [aRows, aColumns] = lastTwo(a.shape);
  const [bRows, bColumns] = lastTwo(b.shape);
  const batch = broadcastShapes("matmul", [a.shape.slice(0, -2), b.shape.slice(0, -2)]);
  return [...batch, transposeA ? aColumns : aRows, transposeB ? bRows : bColumns];
}

function rounding(dtype: MatrixDType): Expression {
  const input = { op: "input", index: 0, dtype: "f32" } as const;
  return { nodes: [input, { op: "cast", args: [0], dtype }], outputs: [1] };
}

function outputDType({ epilogue, output = "f32" }: GemmProblem): DType | undefined {
  if (epilogue === undefined) return output;
  return epilogue.expression.nodes[epilogue.expression.outputs[0] ?? -1]?.dtype;
}

function planOf(problem: GemmProblem, features: CpuFeatures): Plan | undefined {
  const { a, b, transposeA = false, transposeB = false } = problem;
  const [aDType, bDType] = [matrixDType(a), matrixDType(b)];
  if (aDType === undefined || bDType === undefined) return undefined;
  const [aRows, aColumns] = lastTwo(a.shape);
  const [bRows, bColumns] = lastTwo(b.shape);
  const [rows, depth] = transposeA ? [aColumns, aRows] : [aRows, aColumns];
  const [bDepth, columns] = transposeB ? [bColumns, bRows] : [bRows, bColumns];
  invariant(depth === bDepth, `gemm: the inner extents ${depth} and ${bDepth} differ`);
  const [batchA, batchB] = [a.shape.slice(0, -2), b.shape.slice(0, -2)];
  const [matricesA, matricesB] = [sizeOf(batchA), sizeOf(batchB)];
  const batchC = broadcastShapes("matmul", [batchA, batchB]);
  const indexC = 2 + (problem.epilogue?.inputs.length ?? 0);
  const product = outputDType(problem) === "f32" ? argument.buffer(indexC) : argument.scratch(0);
  const common = { features, columns, depth, transposeA, transposeB, aDType, bDType, product };
  const maxPackedBytes = problem.maxPackedBytes ?? MAX_PACKED_BYTES;
  if (matricesB === 1 && !transposeA) {
    // One weight for the whole batch: its rows are rows of one long matrix.
    const single = { extent: 1, strideA: 0, strideB: 0 };
    const counts = { matricesA: 1, matricesB: 1, matricesC: 1 };
    return { ...common, ...counts, rows: rows * matricesA, batch: [single, single, single], maxPackedBytes };
  }
  const batch = batchAxes(batchA, batchB, batchC);
  if (batch === undefined) return undefined;
  return { ...common, rows, batch, matricesA, matricesB, matricesC: sizeOf(batchC), maxPackedBytes };
}

function matrixDType({ dtype }: TensorType): MatrixDType | undefined {
  return dtype === "f32" || dtype === "f16" || dtype === "bf16" ? dtype : undefined;
}

function lastTwo(shape: Shape): readonly [number, number] {
  const [rows, columns] = shape.slice(-2);
  invariant(rows !== undefined && columns !== undefined, `gemm takes matrices, got rank ${shape.length}`);
  return [rows, columns];
}

/** Joins axes of the batch along which both operands step evenly; undefined if more than three remain. */
function batchAxes(batchA: Shape, batchB: Shape, batchC: Shape): Plan["batch"] | undefined {
  const stridesA = broadcastStrides(batchA, batchC);
  const stridesB = broadcastStrides(batchB, batchC);
  const axes: BatchAxis[] = [];
  for (const [axis, extent] of batchC.entries()) {
    if (extent === 1) continue;
    const inner = { extent, strideA: stridesA[axis] ?? 0, strideB: stridesB[axis] ?? 0 };
    const outer = axes.at(-1);
    const isEven = outer?.strideA === inner.strideA * extent && outer.strideB === inner.strideB * extent;
    if (outer === undefined || !isEven) axes.push(inner);
    else axes[axes.length - 1] = { ...inner, extent: outer.extent * extent };
  }
  while (axes.length < 3) axes.unshift({ extent: 1, strideA: 0, strideB: 0 });
  const [first, second, third, ...more] = axes;
  if (first === undefined || second === undefined || third === undefined || more.length > 0) return undefined;
  return [first, second, third];
}

const constant = argument.i32;

/** Extents of the two inner axes, then the strides of A and of B, as the modules take them. */
function batchArguments({ batch }: Plan): {
  readonly extents: KernelArgument[];
  readonly strides: KernelArgument[];
} {
  return {
    extents: [constant(batch[1].extent), constant(batch[2].extent)],
    strides: [...batch.map((axis) => constant(axis.strideA)), ...batch.map((axis) => constant(axis.strideB))],
  };
}

/** A product over no depth is zero. */
function zeroStep(plan: Plan): KernelStep {
  const { sharedMemory } = plan.features;
  const module: KernelModule = {
    key: `gemm-zero:${sharedMemory ? "shared" : "own"}`,
    emit: () =>
      assemble({ sharedMemory }, (f) => {
        const [c, begin, end] = [f.param("i32"), f.param("i32"), f.param("i32")];
        f.fillMemory(i32.add(c, i32.shl(begin, 2)), 0, i32.shl(i32.sub(end, begin), 2));
      }),
  };
  const units = plan.matricesC * plan.rows * plan.columns;
  return { module, args: [plan.product], units, grain: 16 * GRAIN_COPIED };
}

function fewRowsStep(plan: Plan): KernelStep {
  const { features, rows, columns, depth, aDType, bDType, transposeB } = plan;
  const format = { rows, aDType, bDType };
  const { extents, strides } = batchArguments(plan);
  const groupColumns = transposeB ? LINE_UNIT : streamedColumns(plan);
  const groups = Math.ceil(columns / groupColumns);
  const module = transposeB
    ? fewRowsByLinesModule(format, features)
    : fewRowsByDepthsModule(format, features);
  return {
    module,
    args: [
      ...[bufferA, bufferB, plan.product, constant(columns), constant(depth)],
      ...[...extents, ...strides, constant(groups), constant(groupColumns)],
    ],
    units: groups * plan.matricesC,
    grain: Math.ceil(GRAIN_PRODUCTS / 4 / (groupColumns * depth)),
  };
}

/** Long runs read memory evenly; short ones give every thread work. */
function streamedColumns({ columns, matricesC, features }: Plan): number {
  const share = (columns * matricesC) / (4 * features.threads);
  return Math.min(512, Math.max(64, Math.ceil(share / 16) * 16));
}

/** Lines of an operand that are packed together. */
interface Chunk {
  readonly first: number;
  readonly count: number;
}

/** Splits `lines` so that one packed chunk of `matrices` matrices stays within the limit. */
function chunksOf(
  lines: number,
  options: { readonly width: number; readonly lineBytes: number; readonly maxBytes: number },
): Chunk[] {
  const { width, lineBytes, maxBytes } = options;
  const count = Math.max(width, Math.floor(maxBytes / lineBytes / width) * width);
  const chunks: Chunk[] = [];
  for (let first = 0; first < lines; first += count)
    chunks.push({ first, count: Math.min(count, lines - first) });
  return chunks;
}

function packedSteps(plan: Plan): { readonly steps: KernelStep[]; readonly scratchBytes: number } {
  const { rows, columns, depth, matricesA, matricesB, matricesC, maxPackedBytes: maxBytes, features } = plan;
  const tile = tileFor(features);
  const paddedDepth = Math.ceil(depth / DEPTH_UNROLL) * DEPTH_UNROLL;
  const bytesA = paddedDepth * 4 * matricesA;
  const bytesB = paddedDepth * 4 * matricesB;
  const chunksA = chunksOf(rows, { width: tile.rows, lineBytes: bytesA, maxBytes });
  const chunksB = chunksOf(columns, { width: tile.columns, lineBytes: bytesB, maxBytes });
  const panelBytesA = alignUp(Math.ceil((chunksA[0]?.count ?? 0) / tile.rows) * tile.rows * bytesA);
  const panelBytesB = alignUp(Math.ceil((chunksB[0]?.count ?? 0) / tile.columns) * tile.columns * bytesB);
  const start = plan.product.kind === "scratch" ? alignUp(matricesC * rows * columns * 4) : 0;
  const spare = start + panelBytesA + panelBytesB;
  const places: Places = { tile, paddedDepth, a: start, b: start + panelBytesA, spare };
  const steps: KernelStep[] = [];
  let units = 0;
  for (const chunkA of chunksA) {
    steps.push(packStep(plan, places, { operand: "a", chunk: chunkA }));
    for (const chunkB of chunksB) {
      // With one chunk of B its panels serve every chunk of A.
      if (chunksB.length > 1 || chunkA.first === 0)
        steps.push(packStep(plan, places, { operand: "b", chunk: chunkB }));
      const step = tileStep(plan, places, { chunkA, chunkB });
      units = Math.max(units, step.units);
      steps.push(step);
    }
  }
  return { steps, scratchBytes: spare - start + units * tile.rows * tile.columns * 4 };
}

function alignUp(bytes: number): number {
  return Math.ceil(bytes / 64) * 64;
}

/** Scratch offsets of the packed operands and of the spare tiles. */
interface Places {
  readonly tile: Tile;
  readonly paddedDepth: number;
  readonly a: number;
  readonly b: number;
  readonly spare: number;
}

function packStep(
  plan: Plan,
  places: Places,
  { operand, chunk }: { readonly operand: "a" | "b"; readonly chunk: Chunk },
): KernelStep {
  const isA = operand === "a";
  const { rows, columns, depth, features } = plan;
  const width = isA ? places.tile.rows : places.tile.columns;
  const isLineContiguous = isA ? !plan.transposeA : plan.transposeB;
  const dtype = isA ? plan.aDType : plan.bDType;
  const lines = isA ? rows : columns;
  const panels = Math.ceil(chunk.count / width);
  const stride = isLineContiguous ? depth : lines;
  return {
    module: packModule({ width, dtype, isLineContiguous, sharedMemory: features.sharedMemory }),
    args: [
      isA ? bufferA : bufferB,
      { kind: "scratch", byteOffset: isA ? places.a : places.b },
      ...[chunk.count, depth, places.paddedDepth, stride, lines * depth, panels, chunk.first].map(constant),
    ],
    units: panels * (isA ? plan.matricesA : plan.matricesB),
    grain: Math.ceil(GRAIN_COPIED / (width * places.paddedDepth)),
  };
}

function tileStep(
  plan: Plan,
  places: Places,
  { chunkA, chunkB }: { readonly chunkA: Chunk; readonly chunkB: Chunk },
): KernelStep {
  const { features, rows, columns, matricesC } = plan;
  const { tile, paddedDepth } = places;
  const block = blockOf(plan, tile, { rows: chunkA.count, columns: chunkB.count });
  const rowBlocks = Math.ceil(chunkA.count / block.rows);
  const columnBlocks = Math.ceil(chunkB.count / block.columns);
  const { extents, strides } = batchArguments(plan);
  return {
    module: tileModule(tile, features),
    args: [
      { kind: "scratch", byteOffset: places.a },
      { kind: "scratch", byteOffset: places.b },
      plan.product,
      { kind: "scratch", byteOffset: places.spare },
      ...[chunkA.count, chunkB.count, paddedDepth, block.rows, block.columns, rowBlocks, columnBlocks].map(
        constant,
      ),
      ...[chunkA.first, chunkB.first, rows, columns].map(constant),
      ...extents,
      ...strides,
    ],
    units: rowBlocks * columnBlocks * matricesC,
    grain: Math.ceil(GRAIN_PRODUCTS / (block.rows * block.columns * paddedDepth)),
  };
}

/** Halves the block of a unit until every thread has several. */
function blockOf(
  plan: Plan,
  tile: Tile,
  c: { readonly rows: number; readonly columns: number },
): { rows: number; columns: number } {
  const wanted = plan.features.threads === 1 ? 1 : plan.features.threads * 6;
  let rows = Math.min(ROW_BLOCK, Math.ceil(c.rows / tile.rows) * tile.rows);
  let columns = COLUMN_BLOCK;
  const count = () => Math.ceil(c.rows / rows) * Math.ceil(c.columns / columns) * plan.matricesC;
  while (count() < wanted && (columns > 2 * tile.columns || rows > 2 * tile.rows)) {
    if (columns > 2 * tile.columns) columns /= 2;
    else rows = Math.ceil(rows / 2 / tile.rows) * tile.rows;
  }
  return { rows, columns };
}
