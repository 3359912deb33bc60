import type { FunctionBuilder } from "../../wasm/assembler.js";
import { f32, f64 } from "../../wasm/scalar.js";
import { f32x4 } from "../../wasm/simd.js";
import type { Local } from "../../wasm/value.js";
import type { CpuFeatures, LoweredKernel } from "../kernel.js";
import { eachVector, foldTerm, maxTerm, type Position, sumTerm, sumTerms } from "./row.js";
import { type RowAccess, type RowShape, rowStep } from "./row-kernel.js";

/** A kernel over rows of one dtype, as many buffers as `layouts` has letters: r = rows, s = one number per row. */
function rowKernel(
  name: string,
  { rows, columns, dtype, layouts }: RowShape & { readonly layouts: string },
  features: CpuFeatures,
  body: (f: FunctionBuilder, row: RowAccess) => void,
): LoweredKernel {
  const buffers = Array.from(layouts, (letter) => ({
    layout: letter === "r" ? ("rows" as const) : ("scalars" as const),
    dtype,
  }));
  return { steps: [rowStep({ name, rows, columns, buffers, features }, body)], scratchBytes: 0 };
}

/**
 * Softmax along rows: y = exp(x - max x) / sum exp(x - max x). A row of -infinity gives NaN, as in PyTorch.
 *
 * Buffers: x, y [rows, columns]; y may be x.
 */
export function softmaxKernel(shape: RowShape, features: CpuFeatures): LoweredKernel {
  const keepsPowers = shape.dtype === "f32"; // else their rounding would count twice
  return rowKernel("softmax", { ...shape, layouts: "rr" }, features, (f, { math, loop, load, store }) => {
    const max = f.let(f32x4.splat(maxTerm(f, loop, (at) => load(0, at))));
    const power = (at: Position) => math.expNonPositive(f32x4.sub(load(0, at), max));
    const [sum = f.local("f64")] = sumTerms(f, loop, 1, (at) => {
      const value = power(at);
      return { terms: [value], writes: keepsPowers ? [() => store(1, at, value)] : [] };
    });
    const scale = f.let(f32x4.splat(f32.demoteF64(f64.div(1, sum))));
    eachVector(f, loop, (at) => {
      const value = f.let(f32x4.mul(keepsPowers ? load(1, at) : power(at), scale));
      return [() => store(1, at, value)];
    });
  });
}

/** max x + log sum exp(x - max x) of the row in buffer 0; -infinity for a row of -infinity, +infinity where an element is. */
export function logSumExp(f: FunctionBuilder, { math, loop, load }: RowAccess): Local<"f32"> {
  const max = maxTerm(f, loop, (at) => load(0, at));
  const maxLanes = f.let(f32x4.splat(max));
  const sum = sumTerm(f, loop, (at) => math.expNonPositive(f32x4.sub(load(0, at), maxLanes)));
  const log = math.log(f32x4.splat(f32.demoteF64(sum)));
  const result = f.let(f32.add(max, f32x4.extract(log, 0)));
  f.if(f32.eq(f32.abs(max), Number.POSITIVE_INFINITY), () => {
    const exact = foldTerm(f, loop, { start: f32x4.splat(max), join: f32x4.max }, (at) => load(0, at)); // meets a NaN
    f.set(result, f32x4.extract(exact, 0));
  });
  return result;
}

/**
 * Logarithm of softmax along rows: y = x - logsumexp(x).
 *
 * Buffers: x, y [rows, columns]; y may be x.
 */
export function logSoftmaxKernel(shape: RowShape, features: CpuFeatures): LoweredKernel {
  return rowKernel("logSoftmax", { ...shape, layouts: "rr" }, features, (f, row) => {
    const { loop, load, store } = row;
    const total = f.let(f32x4.splat(logSumExp(f, row)));
    eachVector(f, loop, (at) => {
      const value = f.let(f32x4.sub(load(0, at), total));
      return [() => store(1, at, value)];
    });
  });
}

/**
 * Log of the sum of exponentials of each row, without overflow.
 *
 * Buffers: x [rows, columns], y [rows].
 */
export function logSumExpKernel(shape: RowShape, features: CpuFeatures): LoweredKernel {
  return rowKernel("logSumExp", { ...shape, layouts: "rs" }, features, (f, row) => {
    row.storeScalar(1, f32x4.splat(logSumExp(f, row)));
  });
}

/**
 * Gradient of softmax: dx = y (dy - sum(y dy)).
 *
 * Buffers: y, dy, dx [rows, columns]; dx may be dy or y.
 */
export function softmaxGradKernel(shape: RowShape, features: CpuFeatures): LoweredKernel {
  return rowKernel("softmaxGrad", { ...shape, layouts: "rrr" }, features, (f, { loop, load, store }) => {
    const dot = sumTerm(f, loop, (at) => f32x4.mul(load(0, at), load(1, at)));
    const shared = f.let(f32x4.splat(f32.demoteF64(dot)));
    eachVector(f, loop, (at) => {
      const value = f.let(f32x4.mul(load(0, at), f32x4.sub(load(1, at), shared)));
      return [() => store(2, at, value)];
    });
  });
}

/**
 * Gradient of logSoftmax: dx = dy - exp(y) sum(dy).
 *
 * Buffers: y, dy, dx [rows, columns]; dx may be dy or y.
 */
export function logSoftmaxGradKernel(shape: RowShape, features: CpuFeatures): LoweredKernel {
  return rowKernel(
    "logSoftmaxGrad",
    { ...shape, layouts: "rrr" },
    features,
    (f, { math, loop, load, store }) => {
      const total = f.let(f32x4.splat(f32.demoteF64(sumTerm(f, loop, (at) => load(1, at)))));
      eachVector(f, loop, (at) => {
        const probability = math.expNonPositive(load(0, at));
        const value = f.let(f32x4.sub(load(1, at), f32x4.mul(probability, total)));
        return [() => store(2, at, value)];
      });
    },
  );
}
