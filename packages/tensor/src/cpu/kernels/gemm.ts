import type { DType } from "../../dtype.js";
import { invariant } from "../../error.js";
import type { Expression } from "../../expression.js";
import { broadcastShapes, broadcastStrides, type Shape, sizeOf, type TensorType } from "../../shape.js";
import { assemble } from "../../wasm/assembler.js";
import { i32 } from "../../wasm/scalar.js";
import type { CpuFeatures, KernelArgument, KernelModule, KernelStep } from "../kernel.js";
import { type ElementwiseInput, elementwiseKernel } from "./elementwise.js";
import type { MatrixDType } from "./gemm-load.js";
import { packedSteps } from "./gemm-packed.js";
import { type BatchAxis, batchArguments, type GemmPlan, productBytes } from "./gemm-plan.js";
import { fewRowsArguments, fewRowsModule, LINE_UNIT, LINE_UNIT_BYTES, MAX_FEW_ROWS } from "./gemm-rows.js";
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

const bufferA = argument.buffer(0);
const bufferB = argument.buffer(1);

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
  return { name, steps: [...steps, ...finish], scratchBytes: productBytes(plan) + scratchBytes };
}

/** The f32 product. Its scratch begins after the product where that lies in scratch itself. */
function productSteps(plan: GemmPlan): { readonly steps: KernelStep[]; readonly scratchBytes: number } {
  if (plan.depth === 0) return { steps: [zeroStep(plan)], scratchBytes: 0 };
  const isRowMajorA = !plan.transposeA || plan.rows === 1;
  if (plan.rows <= MAX_FEW_ROWS && isRowMajorA) return fewRowsSteps(plan);
  return packedSteps(plan);
}

/** What remains to be done to the product: the epilogue, or rounding to a narrower dtype. */
function finishSteps(problem: GemmProblem, plan: GemmPlan): readonly KernelStep[] | undefined {
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

function planOf(problem: GemmProblem, features: CpuFeatures): GemmPlan | undefined {
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

export function matrixDType({ dtype }: TensorType): MatrixDType | undefined {
  return dtype === "f32" || dtype === "f16" || dtype === "bf16" ? dtype : undefined;
}

function lastTwo(shape: Shape): readonly [number, number] {
  const [rows, columns] = shape.slice(-2);
  invariant(rows !== undefined && columns !== undefined, `gemm takes matrices, got rank ${shape.length}`);
  return [rows, columns];
}

/** Joins axes of the batch along which both operands step evenly; undefined if more than three remain. */
function batchAxes(batchA: Shape, batchB: Shape, batchC: Shape): GemmPlan["batch"] | undefined {
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

/** A product over no depth is zero. */
function zeroStep(plan: GemmPlan): KernelStep {
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

function fewRowsSteps(plan: GemmPlan): { readonly steps: KernelStep[]; readonly scratchBytes: number } {
  const { features, rows, columns, depth, aDType, bDType, transposeB, batch } = plan;
  const groupColumns = transposeB ? LINE_UNIT : streamedColumns(plan);
  const groups = Math.ceil(columns / groupColumns);
  const units = groups * plan.matricesC;
  const { i32 } = argument;
  const step: KernelStep = {
    module: fewRowsModule(transposeB ? "lines" : "depths", { rows, aDType, bDType }, features),
    args: fewRowsArguments({
      a: bufferA,
      b: bufferB,
      c: plan.product,
      spare: argument.scratch(productBytes(plan)),
      columns: i32(columns),
      depth: i32(depth),
      groups: i32(groups),
      groupColumns: i32(groupColumns),
      ...batchArguments(batch),
    }),
    units,
    grain: Math.ceil(GRAIN_PRODUCTS / 4 / (groupColumns * depth)),
  };
  return { steps: [step], scratchBytes: transposeB ? units * LINE_UNIT_BYTES : 0 };
}

/** Long runs read memory evenly; short ones give every thread work. */
function streamedColumns({ rows, columns, matricesC, features }: GemmPlan): number {
  const share = (columns * matricesC) / (4 * features.threads);
  return Math.min(4096 / rows, Math.max(64, Math.ceil(share / 16) * 16)) & -16;
}
