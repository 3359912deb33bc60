import { invariant } from "../../error.js";
import type { Reduction } from "../../op-forms.js";
import { broadcastShapes, broadcastStrides, type Shape } from "../../shape.js";
import type { CpuFeatures, LoweredKernel } from "../kernel.js";
import { canEvaluateLanes } from "./expression-lanes.js";
import type { LaneDType } from "./lanes.js";
import { reduceColumns } from "./reduce-columns.js";
import { reduceRows } from "./reduce-rows.js";
import type { ReductionPlan } from "./reduction-plan.js";
import { collapseAxes, type StridedShape } from "./strided-loop.js";

/**
 * Reduces axes: out = epilogue(combine over the axes of prologue(inputs)), the output contiguous over the kept axes.
 *
 * Buffers: the inputs (broadcast together), then the output. Float sums add at most 64 numbers in f32 before they go on in
 * float64; results do not depend on the number of threads. Returns undefined where a step has no vector form.
 */
export function reduceKernel(
  reduction: Reduction,
  inputs: readonly { readonly dtype: LaneDType; readonly shape: Shape }[],
  features: CpuFeatures,
): LoweredKernel | undefined {
  const { prologue, epilogue } = reduction;
  if (!canEvaluateLanes(prologue) || (epilogue && !canEvaluateLanes(epilogue))) return undefined;
  const shape = broadcastShapes(
    "reduce",
    inputs.map((input) => input.shape),
  );
  const strides = inputs.map((input) => broadcastStrides(input.shape, shape));
  const isReduced = (axis: number) => reduction.axes.includes(axis);
  const pick = (wanted: boolean): StridedShape => {
    const axes = shape.map((_, axis) => axis).filter((axis) => isReduced(axis) === wanted);
    return {
      shape: axes.map((axis) => shape[axis] ?? 1),
      strides: strides.map((moves) => axes.map((axis) => moves[axis] ?? 0)),
    };
  };
  const plan: ReductionPlan = {
    reduction,
    combine: reduction.combine,
    inputs: inputs.map((input) => input.dtype),
    valueDtype: outputDtype(prologue),
    outputDtype: outputDtype(epilogue ?? prologue),
    kept: collapseAxes(pick(false)),
    reduced: collapseAxes(pick(true)),
  };
  const lastAxis = shape.findLastIndex((extent) => extent !== 1);
  return lastAxis < 0 || isReduced(lastAxis) ? reduceRows(plan, features) : reduceColumns(plan, features);
}

function outputDtype({ nodes, outputs }: Reduction["prologue"]): LaneDType {
  const dtype = nodes[outputs[0] ?? 0]?.dtype;
  invariant(dtype !== undefined && dtype !== "f64", "a reduction has one output with lanes");
  return dtype;
}
