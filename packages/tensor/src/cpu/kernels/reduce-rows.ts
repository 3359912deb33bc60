import { sizeOf } from "../../shape.js";
import type { FunctionBuilder } from "../../wasm/assembler.js";
import { f32, f64, i32 } from "../../wasm/scalar.js";
import { f32x4, i32x4 } from "../../wasm/simd.js";
import { laneMath } from "../../wasm/simd-math.js";
import type { Local } from "../../wasm/value.js";
import type { CpuFeatures, KernelArgument, KernelStep, LoweredKernel } from "../kernel.js";
import { constantArguments, expressionKey, expressionLanes, splatConstants } from "./expression-lanes.js";
import { foldKind, joinTotals, laneFold, partialShift, startTotal } from "./fold.js";
import { argument, kernelStep, takeFrom } from "./kernel-step.js";
import type { Lanes } from "./lanes.js";
import { innerMode, loadRow, openRow, rowAddress } from "./operand-row.js";
import {
  countedLoop,
  epilogueArguments,
  type Finish,
  finishKey,
  type ReductionPlan,
  storeFinished,
} from "./reduction-plan.js";
import { foldTerm, type Position, type RowLoop, sumTerm } from "./row.js";
import {
  type StridedShape,
  splitLastAxis,
  stridedLoop,
  stridedParameters,
  stridedSizes,
} from "./strided-loop.js";

/** Elements that one thread reduces at a stretch; fixed, so that results do not depend on the number of threads. */
const chunkElements = 32768;

/** A reduced value: f64 for floats, i32 else. */
type Total = Local<"f64"> | Local<"i32">;

/**
 * Reduces along the innermost axis. Each stretch of it gives one partial result; a second step joins the partial results of
 * an output, unless there is only one.
 */
export function reduceRows(plan: ReductionPlan, features: CpuFeatures): LoweredKernel {
  const { outer, extent, innerStrides } = splitLastAxis(plan.reduced);
  const chunks: StridedShape = {
    shape: [...outer.shape, Math.ceil(extent / chunkElements)],
    strides: outer.strides.map((moves, k) => [...moves, (innerStrides[k] ?? 0) * chunkElements]),
  };
  const numOutputs = sizeOf(plan.kept.shape);
  const numPartials = sizeOf(chunks.shape);
  const loop = countedLoop([plan.kept, chunks]);
  const isWhole = numPartials === 1;
  const first = partialStep(plan, { loop, extent, innerStrides, isWhole, features });
  if (isWhole) return { steps: [first], scratchBytes: 0 };
  const scratchBytes = (numOutputs * numPartials) << partialShift(foldKind(plan.valueDtype));
  return { steps: [first, joinStep(plan, { numOutputs, numPartials, features })], scratchBytes };
}

interface PartialLoop {
  readonly loop: StridedShape;
  readonly extent: number;
  readonly innerStrides: readonly number[];
  /** The partial result is the result: finish and store it. */
  readonly isWhole: boolean;
  readonly features: CpuFeatures;
}

/** One unit = one stretch of at most `chunkElements` of the innermost axis. */
function partialStep(
  plan: ReductionPlan,
  { loop, extent, innerStrides, isWhole, features }: PartialLoop,
): KernelStep {
  const { reduction, inputs, valueDtype } = plan;
  const modes = innerStrides.map(innerMode);
  const rank = loop.shape.length;
  const constants = constantArguments(reduction.prologue);
  const finish = isWhole ? finishKey(plan) : "partial";
  const target = isWhole ? argument.buffer(inputs.length) : argument.scratch(0);
  return kernelStep(
    {
      key: `reduceRows/${plan.combine}/${expressionKey(reduction.prologue)}/${inputs}/${modes}/${rank}/${finish}`,
      features,
      args: [
        ...inputs.map((_, k) => argument.buffer(k)),
        target,
        ...[extent, ...innerStrides, ...stridedSizes(loop)].map(argument.i32),
        ...constants,
        ...(isWhole ? epilogueArguments(plan) : []),
      ],
      units: sizeOf(loop.shape),
      grain: 32768 / Math.min(extent + 16, chunkElements),
    },
    (f, parameters, range) => {
      const take = takeFrom(parameters);
      const pointers = take(inputs.length) as Local<"i32">[];
      const [output, length] = take(2) as [Local<"i32">, Local<"i32">];
      const strides = take(modes.length) as Local<"i32">[];
      const sizes = stridedParameters(take(rank * (inputs.length + 2)) as Local<"i32">[], {
        rank,
        operands: inputs.length + 1,
      });
      const prologueConstants = splatConstants(f, take(constants.length));
      const epilogueConstants = splatConstants(f, take(isWhole ? epilogueArguments(plan).length : 0));
      const math = laneMath(f, features);
      stridedLoop(f, range, sizes, ({ indices, offsets }) => {
        const count = f.let(i32.sub(length, i32.mul(indices.at(-1) ?? 0, chunkElements)));
        f.if(i32.gtS(count, chunkElements), () => f.set(count, chunkElements));
        const rows = inputs.map((dtype, k) =>
          openRow(
            f,
            { dtype, mode: modes[k] ?? "strided", isInput: true },
            { base: pointers[k] ?? output, offset: offsets[k] ?? output, innerStride: strides[k] ?? output },
          ),
        );
        const total = foldRow(f, plan, { count, isPaired: features.revectorized }, (at) => {
          const operands = {
            inputs: rows.map((row, k) =>
              loadRow(
                f,
                row,
                at.once(`${k}`, () => rowAddress(row, at.i)),
                at,
              ),
            ),
            constants: prologueConstants,
          };
          return expressionLanes(f, math, reduction.prologue, operands)[0] ?? i32x4.splat(0);
        });
        const position = offsets.at(-1) ?? output;
        if (isWhole) storeTotal(f, plan, total, { output, position, math, constants: epilogueConstants });
        else {
          const address = i32.add(output, i32.shl(position, partialShift(foldKind(valueDtype))));
          if (total.type === "f64") f.store("f64", address, total);
          else f.store("i32", address, total);
        }
      });
    },
  );
}

function foldRow(
  f: FunctionBuilder,
  { combine, valueDtype }: ReductionPlan,
  loop: RowLoop,
  term: (at: Position) => Lanes,
): Total {
  const kind = foldKind(valueDtype);
  if (kind === "float" && combine === "sum") return sumTerm(f, loop, term);
  const lanes = foldTerm(f, loop, laneFold(combine, kind), term);
  if (kind === "float") return f.let(f64.promoteF32(f32x4.extract(lanes, 0)));
  return f.let(i32x4.extract(lanes, 0));
}

/** One unit = one output: joins its partial results in order. */
function joinStep(
  plan: ReductionPlan,
  { numOutputs, numPartials, features }: { numOutputs: number; numPartials: number; features: CpuFeatures },
): KernelStep {
  const kind = foldKind(plan.valueDtype);
  const extra: KernelArgument[] = epilogueArguments(plan);
  return kernelStep(
    {
      key: `joinPartials/${plan.combine}/${kind}/${finishKey(plan)}`,
      features,
      args: [argument.scratch(0), argument.buffer(plan.inputs.length), argument.i32(numPartials), ...extra],
      units: numOutputs,
      grain: 16384 / numPartials,
    },
    (f, [partials, output, count, ...constants], { begin, end }) => {
      const constantLanes = splatConstants(f, constants);
      const math = laneMath(f, features);
      const shift = partialShift(kind);
      f.for(begin, end, 1, (unit) => {
        const address = f.let(i32.add(partials, i32.shl(i32.mul(unit, count as Local<"i32">), shift)));
        const total = joinPartials(f, plan, address, count as Local<"i32">);
        storeTotal(f, plan, total, { output, position: unit, math, constants: constantLanes });
      });
    },
  );
}

function joinPartials(
  f: FunctionBuilder,
  { combine, valueDtype }: ReductionPlan,
  address: Local<"i32">,
  count: Local<"i32">,
): Total {
  const kind = foldKind(valueDtype);
  if (kind === "float") {
    const total = f.let(f64.const(startTotal(combine)));
    f.for(0, count, 1, (p) =>
      f.set(total, joinTotals(combine)(total, f64.load(i32.add(address, i32.shl(p, 3))))),
    );
    return total;
  }
  const fold = laneFold(combine, kind);
  const lanes = f.let(fold.start);
  f.for(0, count, 1, (p) => {
    f.set(lanes, fold.join(lanes, i32x4.splat(i32.load(i32.add(address, i32.shl(p, 2))))));
  });
  return f.let(i32x4.extract(lanes, 0));
}

/** Rounds a total to f32, applies the epilogue and stores one element. */
function storeTotal(f: FunctionBuilder, plan: ReductionPlan, total: Total, finish: Finish): void {
  const lanes = f.let(
    total.type === "f64"
      ? f32x4.splat(f32.demoteF64(total as Local<"f64">))
      : i32x4.splat(total as Local<"i32">),
  );
  storeFinished(f, plan, lanes, { ...finish, width: 1 });
}
