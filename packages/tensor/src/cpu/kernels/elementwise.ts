import { invariant } from "../../error.js";
import type { Expression } from "../../expression.js";
import { broadcastStrides, type Shape, sizeOf, stridesOf } from "../../shape.js";
import type { FunctionBuilder } from "../../wasm/assembler.js";
import { i32 } from "../../wasm/scalar.js";
import { type LaneMath, laneMath } from "../../wasm/simd-math.js";
import type { Local } from "../../wasm/value.js";
import type { CpuFeatures, LoweredKernel } from "../kernel.js";
import {
  canEvaluateLanes,
  constantArguments,
  expressionKey,
  expressionLanes,
  splatConstants,
} from "./expression-lanes.js";
import { argument, kernelStep, takeFrom } from "./kernel-step.js";
import { byteShift, isFloatLane, type LaneDType, type LaneWidth, storeLanes } from "./lanes.js";
import { innerMode, loadRow, type OperandRow, openRow, rowAddress } from "./operand-row.js";
import { collapseAxes, splitLastAxis, stridedLoop, stridedParameters, stridedSizes } from "./strided-loop.js";

/** An input of an elementwise kernel: broadcast to the output shape, or walked by the strides given (one per output axis). */
export interface ElementwiseInput {
  readonly dtype: LaneDType;
  readonly shape: Shape;
  readonly strides?: readonly number[];
}

/** An input or output: its dtype and which walk (distinct set of strides) it follows. */
interface Operand {
  readonly dtype: LaneDType;
  readonly walk: number;
}

/** Elements of the innermost axis that make one unit of work. */
const blockElements = 4096;

/**
 * Computes an expression over broadcast inputs: out_j[i] = expression_j(in_0[i], in_1[i], ...).
 *
 * Buffers: the inputs in order, then one contiguous output of `shape` per output of the expression. Outputs may be inputs of
 * the same shape and dtype (in place). Returns undefined where a step has no vector form (f64, exp of integers, ...).
 */
export function elementwiseKernel(
  expression: Expression,
  { inputs, shape }: { readonly inputs: readonly ElementwiseInput[]; readonly shape: Shape },
  features: CpuFeatures,
): LoweredKernel | undefined {
  if (!canEvaluateLanes(expression)) return undefined;
  const plan = planWalks(expression, inputs, shape);
  const { outer, extent } = plan;
  const blocks = Math.ceil(extent / blockElements);
  const blockStrides = plan.innerStrides.map((stride) => stride * blockElements);
  const loop = {
    shape: [...outer.shape, blocks],
    strides: outer.strides.map((moves, walk) => [...moves, blockStrides[walk] ?? 0]),
  };
  const constants = constantArguments(expression);
  const operands = [...plan.inputs, ...plan.outputs];
  const modes = plan.innerStrides.map(innerMode);
  const step = kernelStep(
    {
      key: `elementwise/${expressionKey(expression)}/${operands.map((o) => `${o.dtype}@${o.walk}`)}/${modes}/${loop.shape.length}`,
      features,
      args: [
        ...operands.map((_, index) => argument.buffer(index)),
        ...[extent, ...plan.innerStrides, ...stridedSizes(loop)].map(argument.i32),
        ...constants,
      ],
      units: sizeOf(loop.shape),
      grain: grainElements(expression) / Math.min(extent, blockElements),
    },
    (f, parameters, range) => {
      const take = takeFrom(parameters);
      const pointers = take(operands.length) as Local<"i32">[];
      const [length] = take(1) as [Local<"i32">];
      const innerStrides = take(modes.length) as Local<"i32">[];
      const rank = loop.shape.length;
      const sizes = stridedParameters(take(rank * (modes.length + 1)) as Local<"i32">[], {
        rank,
        operands: modes.length,
      });
      const constantLanes = splatConstants(f, take(constants.length));
      const math = laneMath(f, features);
      stridedLoop(f, range, sizes, ({ indices, offsets }) => {
        const block = indices.at(-1) ?? length;
        const left = f.let(i32.sub(length, i32.mul(block, blockElements)));
        f.if(i32.gtS(left, blockElements), () => f.set(left, blockElements));
        const rows = operands.map(({ dtype, walk }, k) =>
          openRow(
            f,
            { dtype, mode: modes[walk] ?? "strided", isInput: k < plan.inputs.length },
            {
              base: pointers[k] ?? length,
              offset: offsets[walk] ?? length,
              innerStride: innerStrides[walk] ?? length,
            },
          ),
        );
        const inputRows = rows.slice(0, plan.inputs.length);
        const outputRows = rows.slice(plan.inputs.length);
        emitRow(f, { math, expression, inputRows, outputRows, constantLanes, count: left, features });
      });
    },
  );
  return { steps: [step], scratchBytes: 0 };
}

interface RowProgram {
  readonly math: LaneMath;
  readonly expression: Expression;
  readonly inputRows: readonly OperandRow[];
  readonly outputRows: readonly OperandRow[];
  readonly constantLanes: readonly Local<"v128">[];
  readonly count: Local<"i32">;
  readonly features: CpuFeatures;
}

/** Runs the expression along one row: pairs of vectors (where the engine can join them), single vectors, single elements. */
function emitRow(f: FunctionBuilder, program: RowProgram): void {
  const { count, features } = program;
  const i = f.let(i32.const(0));
  if (features.revectorized)
    f.advance(i, i32.sub(count, 7), 8, () => emitPass(f, program, { i, vectors: 2, width: 4 }));
  f.advance(i, i32.sub(count, 3), 4, () => emitPass(f, program, { i, vectors: 1, width: 4 }));
  f.advance(i, count, 1, () => emitPass(f, program, { i, vectors: 1, width: 1 }));
}

interface Pass {
  readonly i: Local<"i32">;
  readonly vectors: number;
  readonly width: LaneWidth;
}

/** Loads, computes and stores `vectors` neighbouring vectors at element i. */
function emitPass(f: FunctionBuilder, program: RowProgram, { i, vectors, width }: Pass): void {
  const { math, expression, inputRows, outputRows, constantLanes } = program;
  const skips = Array.from({ length: vectors }, (_, k) => 4 * k);
  const addressed = (rows: readonly OperandRow[]) =>
    rows.map((row) => ({ row, address: f.let(rowAddress(row, i)) }));
  const inputs = addressed(inputRows);
  const results = skips.map((skip) => {
    const lanes = inputs.map(({ row, address }) => loadRow(f, row, address, { width, skip }));
    return expressionLanes(f, math, expression, { inputs: lanes, constants: constantLanes });
  });
  addressed(outputRows).forEach(({ row, address }, j) => {
    skips.forEach((skip, k) => {
      const value = results[k]?.[j];
      invariant(value, "every output has a value");
      storeLanes(f, row.dtype, address, { value, width, byteOffset: skip << byteShift(row.dtype) });
    });
  });
}

/** Collapses the axes and gives operands that move alike one walk, whose offset they share. */
function planWalks(expression: Expression, inputs: readonly ElementwiseInput[], shape: Shape) {
  const outputDtypes = expression.outputs.map((index) => expression.nodes[index]?.dtype);
  const allStrides = [
    ...inputs.map((input) => input.strides ?? broadcastStrides(input.shape, shape)),
    ...outputDtypes.map(() => stridesOf(shape)),
  ];
  const collapsed = collapseAxes({ shape, strides: allStrides });
  const walkKeys = collapsed.strides.map(String);
  const distinct = [...new Set(walkKeys)];
  const strides = distinct.map((key) => collapsed.strides[walkKeys.indexOf(key)] ?? []);
  const walkOf = (operand: number) => distinct.indexOf(walkKeys[operand] ?? "");
  const { outer, extent, innerStrides } = splitLastAxis({ shape: collapsed.shape, strides });
  return {
    outer,
    extent,
    innerStrides: collapsed.shape.length === 0 ? strides.map(() => 1) : innerStrides,
    inputs: inputs.map((input, k): Operand => ({ dtype: input.dtype, walk: walkOf(k) })),
    outputs: outputDtypes.map((dtype, j): Operand => {
      invariant(dtype !== undefined && dtype !== "f64", "outputs are nodes with lanes");
      return { dtype, walk: walkOf(inputs.length + j) };
    }),
  };
}

const costs: Readonly<Record<string, number>> = {
  exp: 4,
  log: 5,
  tanh: 7,
  sigmoid: 6,
  erf: 8,
  sin: 10,
  cos: 10,
  pow: 25,
  div: 2,
  sqrt: 2,
  rsqrt: 4,
  reciprocal: 2,
};

/** Elements worth a thread: about 20 microseconds of work. */
function grainElements(expression: Expression): number {
  const cost = expression.nodes.reduce((sum, node) => {
    const isNarrow = isFloatLane(node.dtype as LaneDType) && node.dtype !== "f32";
    return sum + (costs[node.op] ?? 0.5) + (isNarrow ? 3 : 0);
  }, 1);
  return 65536 / cost;
}
