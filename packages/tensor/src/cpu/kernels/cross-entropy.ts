import type { FunctionBuilder } from "../../wasm/assembler.js";
import { f32, f64, i32 } from "../../wasm/scalar.js";
import { f32x4, i32x4, v128 } from "../../wasm/simd.js";
import type { Local } from "../../wasm/value.js";
import type { CpuFeatures, LoweredKernel } from "../kernel.js";
import { argument } from "./kernel-step.js";
import type { LaneDType } from "./lanes.js";
import { eachVector, sumTerm } from "./row.js";
import { type RowAccess, type RowBuffer, type RowShape, rowStep } from "./row-kernel.js";
import { logSumExp } from "./softmax.js";

export interface CrossEntropyShape extends RowShape {
  /** Rows with this target give 0. */
  readonly ignoreIndex: number;
  /** Part of the target's probability that is spread over all classes. */
  readonly labelSmoothing: number;
}

const rowsOf = (dtype: LaneDType): RowBuffer => ({ layout: "rows", dtype });
const scalarsOf = (dtype: LaneDType): RowBuffer => ({ layout: "scalars", dtype });

/** The class wanted in this row, and whether the row counts; a class outside of the row counts, and gives NaN. */
function readTarget(f: FunctionBuilder, { loop, loadScalar }: RowAccess, ignoreIndex: Local<"i32">) {
  const target = f.let(i32x4.extract(loadScalar(1), 0));
  return { target, counts: i32.ne(target, ignoreIndex), isInside: i32.ltU(target, loop.count) };
}

/**
 * Cross-entropy of each row: loss = logsumexp(x) - (1 - s) x[target] - s mean(x), 0 where the target is ignored.
 *
 * Buffers: logits [rows, columns], targets i32 [rows], loss [rows], logsumexp [rows], all but the targets of one float dtype.
 */
export function crossEntropyKernel(shape: CrossEntropyShape, features: CpuFeatures): LoweredKernel {
  const { dtype, ignoreIndex, labelSmoothing } = shape;
  const isSmooth = labelSmoothing !== 0;
  const step = rowStep(
    {
      ...shape,
      name: `crossEntropy/${isSmooth}`,
      buffers: [rowsOf(dtype), scalarsOf("i32"), scalarsOf(dtype), scalarsOf(dtype)],
      extra: [argument.i32(ignoreIndex), argument.f32(labelSmoothing)],
      features,
    },
    (f, row, [ignored, smoothing]) => {
      const { loop, length, load, loadElement, storeScalar } = row;
      const total = logSumExp(f, row);
      storeScalar(3, f32x4.splat(total));
      const { target, counts, isInside } = readTarget(f, row, ignored as Local<"i32">);
      const loss = f.let(f32.const(0));
      f.if(counts, () => {
        f.set(loss, Number.NaN);
        f.if(isInside, () => {
          const picked = f32x4.extract(loadElement(0, target), 0);
          f.set(loss, f32.sub(total, picked));
          if (!isSmooth) return;
          // (1 - s)(total - picked) + s (total - mean)
          const s = smoothing as Local<"f32">;
          const sum = sumTerm(f, loop, (at) => load(0, at));
          const mean = f32.demoteF64(f64.div(sum, length));
          f.set(loss, f32.add(f32.mul(loss, f32.sub(1, s)), f32.mul(f32.sub(total, mean), s)));
        });
      });
      storeScalar(2, f32x4.splat(loss));
    },
  );
  return { steps: [step], scratchBytes: 0 };
}

/**
 * Gradient of each row's cross-entropy: dx = (softmax(x) - (1 - s) one-hot(target) - s / columns) dloss, 0 where ignored.
 *
 * Buffers: logits [rows, columns], targets i32 [rows], logsumexp [rows], dloss [rows], dlogits [rows, columns]. dlogits may be
 * logits.
 */
export function crossEntropyGradKernel(shape: CrossEntropyShape, features: CpuFeatures): LoweredKernel {
  const { dtype, columns, ignoreIndex, labelSmoothing } = shape;
  const step = rowStep(
    {
      ...shape,
      name: "crossEntropyGrad",
      buffers: [rowsOf(dtype), scalarsOf("i32"), scalarsOf(dtype), scalarsOf(dtype), rowsOf(dtype)],
      extra: [
        argument.i32(ignoreIndex),
        argument.f32(1 - labelSmoothing),
        argument.f32(labelSmoothing / columns),
      ],
      features,
    },
    (f, row, [ignored, confidence, floor]) => {
      const { math, loop, load, loadScalar, store } = row;
      const { target, counts } = readTarget(f, row, ignored as Local<"i32">);
      f.if(
        counts,
        () => {
          const total = loadScalar(2);
          const gradient = loadScalar(3);
          const spread = f.let(f32x4.splat(floor as Local<"f32">));
          const wanted = f.let(f32x4.splat(confidence as Local<"f32">));
          const targetLanes = f.let(i32x4.splat(target));
          eachVector(f, loop, (at) => {
            const probability = math.expNonPositive(f32x4.sub(load(0, at), total));
            const isTarget = i32x4.eq(i32x4.add(i32x4.splat(at.i), classesFrom(at.skip)), targetLanes);
            const rest = f32x4.sub(f32x4.sub(probability, spread), v128.and(isTarget, wanted));
            const value = f.let(f32x4.mul(rest, gradient));
            return [() => store(4, at, value)];
          });
        },
        () => eachVector(f, loop, (at) => [() => store(4, at, f32x4.splat(0))]),
      );
    },
  );
  return { steps: [step], scratchBytes: 0 };
}

/** The numbers of four neighbouring classes. */
const classesFrom = (first: number) => v128.const(new Int32Array([first, first + 1, first + 2, first + 3]));
