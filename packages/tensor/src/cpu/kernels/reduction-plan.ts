import type { Combine, Reduction } from "../../op-forms.js";
import { stridesOf } from "../../shape.js";
import type { FunctionBuilder } from "../../wasm/assembler.js";
import { i32 } from "../../wasm/scalar.js";
import type { LaneMath } from "../../wasm/simd-math.js";
import type { Local, Value } from "../../wasm/value.js";
import type { KernelArgument } from "../kernel.js";
import { constantArguments, expressionKey, expressionLanes } from "./expression-lanes.js";
import { byteShift, isFloatLane, type LaneDType, type LaneWidth, roundLanes, storeLanes } from "./lanes.js";
import type { StridedShape } from "./strided-loop.js";

/** A reduction with its axes sorted: kept ones first, reduced ones last, both collapsed. */
export interface ReductionPlan {
  readonly reduction: Reduction;
  readonly combine: Combine;
  readonly inputs: readonly LaneDType[];
  /** Dtype of the prologue's values and of the result. */
  readonly valueDtype: LaneDType;
  readonly outputDtype: LaneDType;
  /** Strides of the inputs over kept and reduced axes. */
  readonly kept: StridedShape;
  readonly reduced: StridedShape;
}

/** Joins kept and reduced axes into one loop, with one more operand that counts the visits row-major. */
export function countedLoop(parts: readonly StridedShape[]): StridedShape {
  const shape = parts.flatMap((part) => part.shape);
  const operands = parts[0]?.strides.length ?? 0;
  const strides = Array.from({ length: operands }, (_, k) => parts.flatMap((part) => part.strides[k] ?? []));
  return { shape, strides: [...strides, stridesOf(shape)] };
}

/** Structure of what happens to a total: the epilogue, or a plain store. */
export function finishKey({ reduction, valueDtype, outputDtype }: ReductionPlan): string {
  return reduction.epilogue ? expressionKey(reduction.epilogue) : `${valueDtype}>${outputDtype}`;
}

export function epilogueArguments({ reduction }: ReductionPlan): KernelArgument[] {
  return reduction.epilogue ? constantArguments(reduction.epilogue) : [];
}

/** Where and with what a total is finished. */
export interface Finish {
  readonly output: Value<"i32">;
  readonly position: Value<"i32">;
  readonly math: LaneMath;
  readonly constants: readonly Local<"v128">[];
}

/** Applies the epilogue to totals in lanes and stores them at element `position` of the output. */
export function storeFinished(
  f: FunctionBuilder,
  { reduction, outputDtype, valueDtype }: ReductionPlan,
  totals: Local<"v128">,
  { output, position, math, constants, width }: Finish & { readonly width: LaneWidth },
): void {
  const { epilogue } = reduction;
  const value = epilogue
    ? expressionLanes(f, math, epilogue, { inputs: [totals], constants })[0]
    : roundTotals(f, valueDtype, totals);
  const address = f.let(i32.add(output, i32.shl(position, byteShift(outputDtype))));
  storeLanes(f, outputDtype, address, { value: value ?? totals, width });
}

function roundTotals(f: FunctionBuilder, dtype: LaneDType, totals: Local<"v128">): Local<"v128"> {
  return isFloatLane(dtype) ? roundLanes(f, dtype, totals) : totals;
}
