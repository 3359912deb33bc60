import type { FunctionBuilder } from "../../wasm/assembler.js";
import { f32, f64, i32 } from "../../wasm/scalar.js";
import { f32x4 } from "../../wasm/simd.js";
import { type LaneMath, laneMath } from "../../wasm/simd-math.js";
import type { Local, Value } from "../../wasm/value.js";
import type { CpuFeatures } from "../kernel.js";
import { argument, kernelStep, type LoweredKernel } from "./kernel-step.js";
import { elementAddress, type LaneDType, type LaneWidth, loadLanes, storeLanes } from "./lanes.js";
import { eachElement, maxTerm, sumTerm } from "./row.js";

/** What the row kernels of this file are told: `rows` vectors of `columns` floats, contiguous. */
export interface RowShape {
  readonly rows: number;
  readonly columns: number;
  readonly dtype: LaneDType;
}

/** Access to the arrays of one row: `load(k, i, width)` reads buffer k, `store(k, ...)` writes it. */
interface RowAccess {
  readonly math: LaneMath;
  readonly count: Local<"i32">;
  load(buffer: number, i: Value<"i32">, width: LaneWidth): Local<"v128">;
  store(buffer: number, i: Value<"i32">, at: { value: Value<"v128">; width: LaneWidth }): void;
  /** Writes the one number that a row of buffer `buffer` has. */
  storeScalar(buffer: number, value: Value<"f32">): void;
}

/** A kernel whose unit is one row; buffers hold rows of `columns` elements, or one each (`scalars`). */
function rowKernel(
  name: string,
  { rows, columns, dtype, buffers }: RowShape & { readonly buffers: number },
  features: CpuFeatures,
  body: (f: FunctionBuilder, row: RowAccess) => void,
): LoweredKernel {
  const step = kernelStep(
    {
      key: `${name}/${dtype}`,
      features,
      args: [...Array.from({ length: buffers }, (_, k) => argument.buffer(k)), argument.i32(columns)],
      units: rows,
      grain: 8192 / (columns + 8),
    },
    (f, parameters, { begin, end }) => {
      const count = parameters[buffers] ?? begin;
      const math = laneMath(f, features);
      f.for(begin, end, 1, (unit) => {
        const first = f.let(i32.mul(unit, count));
        const pointers = parameters
          .slice(0, buffers)
          .map((base) => f.let(elementAddress(base, first, dtype)));
        const address = (k: number, i: Value<"i32">) => elementAddress(pointers[k] ?? first, i, dtype);
        body(f, {
          math,
          count,
          load: (k, i, width) => loadLanes(f, dtype, address(k, i), { width }),
          store: (k, i, { value, width }) => storeLanes(f, dtype, address(k, i), { value, width }),
          storeScalar: (k, value) => {
            const target = elementAddress(parameters[k] ?? begin, unit, dtype);
            storeLanes(f, dtype, target, { value: f32x4.splat(value), width: 1 });
          },
        });
      });
    },
  );
  return { steps: [step], scratchBytes: 0 };
}

/**
 * Softmax along rows: y = exp(x - max x) / sum exp(x - max x). A row of -infinity gives NaN, as in PyTorch.
 *
 * Buffers: x, y [rows, columns]; y may be x.
 */
export function softmaxKernel(shape: RowShape, features: CpuFeatures): LoweredKernel {
  const keepsPowers = shape.dtype === "f32"; // else their rounding would count twice
  return rowKernel("softmax", { ...shape, buffers: 2 }, features, (f, { math, count, load, store }) => {
    const max = f.let(f32x4.splat(maxTerm(f, count, (i, width) => load(0, i, width))));
    const power = (i: Local<"i32">, width: LaneWidth) =>
      math.expNonPositive(f32x4.sub(load(0, i, width), max));
    const sum = sumTerm(f, count, (i, width) => {
      const value = power(i, width);
      if (keepsPowers) store(1, i, { value, width });
      return value;
    });
    const scale = f.let(f32x4.splat(f32.demoteF64(f64.div(1, sum))));
    eachElement(f, count, (i, width) => {
      const value = keepsPowers ? load(1, i, width) : power(i, width);
      store(1, i, { value: f32x4.mul(value, scale), width });
    });
  });
}

/** max x + log sum exp(x - max x) of a row; -infinity for a row of -infinity, +infinity where an element is. */
function logSumExp(f: FunctionBuilder, { math, count, load }: RowAccess): Local<"f32"> {
  const max = maxTerm(f, count, (i, width) => load(0, i, width));
  const maxLanes = f.let(f32x4.splat(max));
  const sum = sumTerm(f, count, (i, width) => math.expNonPositive(f32x4.sub(load(0, i, width), maxLanes)));
  const log = math.log(f32x4.splat(f32.demoteF64(sum)));
  const result = f.let(f32.add(max, f32x4.extract(log, 0)));
  f.if(f32.eq(f32.abs(max), Number.POSITIVE_INFINITY), () => f.set(result, max));
  return result;
}

/**
 * Logarithm of softmax along rows: y = x - logsumexp(x).
 *
 * Buffers: x, y [rows, columns]; y may be x.
 */
export function logSoftmaxKernel(shape: RowShape, features: CpuFeatures): LoweredKernel {
  return rowKernel("logSoftmax", { ...shape, buffers: 2 }, features, (f, row) => {
    const { count, load, store } = row;
    const total = f.let(f32x4.splat(logSumExp(f, row)));
    eachElement(f, count, (i, width) => store(1, i, { value: f32x4.sub(load(0, i, width), total), width }));
  });
}

/**
 * Log of the sum of exponentials of each row, without overflow.
 *
 * Buffers: x [rows, columns], y [rows].
 */
export function logSumExpKernel(shape: RowShape, features: CpuFeatures): LoweredKernel {
  return rowKernel("logSumExp", { ...shape, buffers: 2 }, features, (f, row) => {
    row.storeScalar(1, logSumExp(f, row));
  });
}

/**
 * Gradient of softmax: dx = y (dy - sum(y dy)).
 *
 * Buffers: y, dy, dx [rows, columns]; dx may be dy or y.
 */
export function softmaxGradKernel(shape: RowShape, features: CpuFeatures): LoweredKernel {
  return rowKernel("softmaxGrad", { ...shape, buffers: 3 }, features, (f, { count, load, store }) => {
    const dot = sumTerm(f, count, (i, width) => f32x4.mul(load(0, i, width), load(1, i, width)));
    const shared = f.let(f32x4.splat(f32.demoteF64(dot)));
    eachElement(f, count, (i, width) => {
      const value = f32x4.mul(load(0, i, width), f32x4.sub(load(1, i, width), shared));
      store(2, i, { value, width });
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
    { ...shape, buffers: 3 },
    features,
    (f, { math, count, load, store }) => {
      const total = f.let(f32x4.splat(f32.demoteF64(sumTerm(f, count, (i, width) => load(1, i, width)))));
      eachElement(f, count, (i, width) => {
        const probability = math.exp(load(0, i, width));
        store(2, i, { value: f32x4.sub(load(1, i, width), f32x4.mul(probability, total)), width });
      });
    },
  );
}
