import type { DType } from "../../dtype.js";
import type { Combine, Reduction } from "../../op-forms.js";
import { broadcastShapes, broadcastStrides, sizeOf, type TensorType } from "../../shape.js";
import { literal, valueType } from "../dtype.js";
import { expressionCode } from "../expression.js";
import type { WgslKernel, WgslMemory, WgslStep } from "../kernel.js";
import { type BufferUse, bufferAt, scratchAt, wgslStep } from "../step.js";
import { offsetCode } from "../strides.js";

const threads = 256;
/** Below so many elements a total is one thread's work. */
const shortReduction = 64;
/** Totals that one thread each computes need at least so many to fill a device. */
const manyOutputs = 4096;
/** Elements of one total that one workgroup adds up. */
const chunk = 16384;

interface Reduced {
  readonly reduction: Reduction;
  readonly inputs: readonly TensorType[];
  readonly output: TensorType;
  /** Totals and elements of each. */
  readonly totals: number;
  readonly length: number;
}

/**
 * A reduction of an expression, by one thread or one workgroup for each total, or by many workgroups whose partial totals a
 * second pass joins. The order of additions depends on the shape only. Twin: `evaluateReduction`.
 */
export function reduceWgsl(
  reduction: Reduction,
  inputs: readonly TensorType[],
  output: TensorType,
): WgslKernel {
  const totals = sizeOf(output.shape);
  const shape = broadcastShapes(
    "reduce",
    inputs.map((input) => input.shape),
  );
  const length = reduction.axes.reduce((product, axis) => product * (shape[axis] ?? 1), 1);
  const call: Reduced = { reduction, inputs, output, totals, length };
  const memory = bufferAt(inputs.length);
  if (length <= shortReduction || (totals >= manyOutputs && isStrided(call)))
    return { steps: [threadStep(call, memory)] };
  const parts = Math.min(256, Math.ceil(length / chunk), Math.ceil(1024 / Math.max(totals, 1)));
  if (parts <= 1) return { steps: [groupStep(call, { memory, parts: 1 })] };
  const partials: TensorType = { shape: [totals, parts], dtype: accumulator(reduction) };
  const join: Reduction = {
    ...reduction,
    prologue: { nodes: [{ op: "input", index: 0, dtype: partials.dtype }], outputs: [0] },
    axes: [1],
  };
  const last: Reduced = { reduction: join, inputs: [partials], output, totals, length: parts };
  return {
    steps: [
      groupStep(call, { memory: scratchAt(0), parts }),
      groupStep(last, { memory, parts: 1, from: scratchAt(0) }),
    ],
    scratch: [totals * parts * 4],
  };
}

/** The totals' neighbours lie side by side in memory, so that threads that each walk one total read together. */
function isStrided({ reduction, inputs }: Reduced): boolean {
  const rank = Math.max(...inputs.map(({ shape }) => shape.length));
  return !reduction.axes.includes(rank - 1);
}

/** 32-bit type in which partial totals are kept. */
function accumulator({ prologue }: Reduction): DType {
  const type = valueType(prologue.nodes[prologue.outputs[0] ?? 0]?.dtype ?? "f32");
  return type === "bool" ? "u32" : type;
}

function startOf(combine: Combine, type: DType): string {
  if (combine === "sum") return literal(type, 0);
  if (combine === "prod") return literal(type, 1);
  const isMax = combine === "max";
  if (type === "f32") return literal(type, isMax ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY);
  if (type === "u32") return literal(type, isMax ? 0 : 0xffffffff);
  return literal(type, isMax ? -(2 ** 31) : 2 ** 31 - 1);
}

function joinCode(combine: Combine, type: DType): string {
  if (combine === "sum") return "a + b";
  if (combine === "prod") return "a * b";
  return type === "f32" ? `h_${combine}(a, b)` : `${combine}(a, b)`;
}

/** Functions of a reduction: `elementAt(total, j)`, `combine(a, b)`, `finish(total, value)`. */
function pieces(call: Reduced, from?: WgslMemory) {
  const { reduction, inputs, output } = call;
  const shape = broadcastShapes(
    "reduce",
    inputs.map((input) => input.shape),
  );
  const strides = inputs.map((input) => broadcastStrides(input.shape, shape));
  const isReduced = (axis: number) => reduction.axes.includes(axis);
  const pick = (reduced: boolean) => {
    const axes = shape.flatMap((_, axis) => (isReduced(axis) === reduced ? [axis] : []));
    return {
      shape: axes.map((axis) => shape[axis] ?? 1),
      strides: strides.map((moves) => axes.map((axis) => moves[axis] ?? 0)),
    };
  };
  const [kept, reduced] = [offsetCode(pick(false), "total", "k"), offsetCode(pick(true), "j", "r")];
  const elements = inputs.map((_, i) => `load_x${i}(${kept.offsets[i]} + ${reduced.offsets[i]})`);
  const type = accumulator(reduction);
  const prologue = expressionCode(
    { ...reduction.prologue, outputs: reduction.prologue.outputs.slice(0, 1) },
    elements,
    "e",
  );
  const epilogue = reduction.epilogue && expressionCode(reduction.epilogue, ["value"], "f");
  const outputType = valueType(output.dtype);
  const finished = epilogue?.outputs[0] ?? "value";
  const buffers = inputs.map(
    ({ dtype }, i): BufferUse => ({ name: `x${i}`, memory: from ?? bufferAt(i), dtype, access: "read" }),
  );
  const element = prologue.outputs[0] ?? "";
  const declarations = `fn elementAt(total: u32, j: u32) -> ${type} {
${kept.code}
${reduced.code}
${prologue.code}
  return ${type}(${element});
}
fn combine(a: ${type}, b: ${type}) -> ${type} { return ${joinCode(reduction.combine, type)}; }`;
  const finish = `fn finish(total: u32, value: ${type}) {
${epilogue?.code ?? ""}
  store_y(total, ${epilogue ? finished : `${outputType}(value)`});
}`;
  const params = { ...kept.params, ...reduced.params, ...prologue.params };
  return { buffers, declarations, finish, params, finishParams: epilogue?.params ?? {}, type };
}

/** One thread for each total. */
function threadStep(call: Reduced, memory: WgslMemory): WgslStep {
  const { buffers, declarations, finish, params, finishParams, type } = pieces(call);
  return wgslStep({
    buffers: [...buffers, { name: "y", memory, dtype: call.output.dtype, access: "write" }],
    params: { totals: call.totals, length: call.length, ...params, ...finishParams },
    groups: Math.ceil(call.totals / threads),
    declarations: `${declarations}\n${finish}`,
    body: `  let total = group * ${threads}u + thread;
  if (total >= P.totals) { return; }
  var sum = ${startOf(call.reduction.combine, type)};
  for (var j = 0u; j < P.length; j++) { sum = combine(sum, elementAt(total, j)); }
  finish(total, sum);`,
  });
}

interface Target {
  readonly memory: WgslMemory;
  /** Workgroups that share one total; more than one write partial totals in the accumulator's type. */
  readonly parts: number;
  /** Where the input lies, if it is not the launch's. */
  readonly from?: WgslMemory;
}

/** One workgroup for each part of a total: threads stride over it, then halve what they have. */
function groupStep(call: Reduced, { memory, parts, from }: Target): WgslStep {
  const { buffers, declarations, finish, params, finishParams, type } = pieces(call, from);
  const isPartial = parts > 1;
  const perPart = Math.ceil(call.length / parts);
  return wgslStep({
    buffers: [
      ...buffers,
      { name: "y", memory, dtype: isPartial ? type : call.output.dtype, access: "write" },
    ],
    params: { length: call.length, parts, perPart, ...params, ...(isPartial ? {} : finishParams) },
    threads,
    groups: call.totals * parts,
    declarations: `${declarations}
${isPartial ? `fn finish(at: u32, value: ${type}) { store_y(at, value); }` : finish}
var<workgroup> shared_: array<${type}, ${threads}>;`,
    body: `  let total = group / P.parts;
  let first = (group % P.parts) * P.perPart;
  let end = min(first + P.perPart, P.length);
  var sum = ${startOf(call.reduction.combine, type)};
  for (var j = first + thread; j < end; j += ${threads}u) { sum = combine(sum, elementAt(total, j)); }
  shared_[thread] = sum;
  for (var half = ${threads / 2}u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (thread < half) { shared_[thread] = combine(shared_[thread], shared_[thread + half]); }
  }
  if (thread == 0u) { finish(group, shared_[0]); }`,
  });
}
