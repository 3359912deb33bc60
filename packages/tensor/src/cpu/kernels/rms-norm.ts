import type { FunctionBuilder } from "../../wasm/assembler.js";
import { f32, f64 } from "../../wasm/scalar.js";
import { f32x4 } from "../../wasm/simd.js";
import type { Local, Value } from "../../wasm/value.js";
import type { CpuFeatures, LoweredKernel } from "../kernel.js";
import { argument } from "./kernel-step.js";
import { normGradKernel } from "./norm-grad.js";
import { eachVector, type Position, sumTerm } from "./row.js";
import { type RowAccess, type RowBuffer, type RowShape, rowStep } from "./row-kernel.js";

export interface RmsNormShape extends RowShape {
  /** Added to the mean square. */
  readonly eps: number;
  /** Added to the weight. */
  readonly offset: number;
}

/** 1 / sqrt(mean(x^2) + eps) of the row in buffer 0, in float64. */
function inverseRms(f: FunctionBuilder, { loop, length, load }: RowAccess, eps: Local): Local<"f64"> {
  const squares = sumTerm(f, loop, (at) => {
    const x = load(0, at);
    return f32x4.mul(x, x);
  });
  const mean = f64.div(squares, length);
  return f.let(f64.div(1, f64.sqrt(f64.add(mean, f64.promoteF32(eps as Local<"f32">)))));
}

const splat = (f: FunctionBuilder, x: Value<"f64">) => f.let(f32x4.splat(f32.demoteF64(x)));

/** weight + offset, where there is an offset. */
function scaleReader(
  f: FunctionBuilder,
  { load }: RowAccess,
  { offset, hasOffset }: { offset: Local; hasOffset: boolean },
): (at: Position) => Value<"v128"> {
  const lanes = f.let(f32x4.splat(offset as Local<"f32">));
  return (at) => (hasOffset ? f32x4.add(load(1, at), lanes) : load(1, at));
}

/**
 * Scales rows to a root mean square of 1: y = x / sqrt(mean(x^2) + eps) * (weight + offset).
 *
 * Buffers: x [rows, columns], weight [columns], y [rows, columns]; y may be x.
 */
export function rmsNormKernel(shape: RmsNormShape, features: CpuFeatures): LoweredKernel {
  const { dtype, eps, offset } = shape;
  const buffers: RowBuffer[] = [
    { layout: "rows", dtype },
    { layout: "shared", dtype },
    { layout: "rows", dtype },
  ];
  const hasOffset = offset !== 0;
  const extra = [argument.f32(eps), argument.f32(offset)];
  const step = rowStep(
    { ...shape, name: `rmsNorm/${hasOffset}`, buffers, extra, features },
    (f, row, parameters) => {
      const [epsilon, shift] = parameters as [Local, Local];
      const { loop, load, store } = row;
      const inverse = splat(f, inverseRms(f, row, epsilon));
      const scale = scaleReader(f, row, { offset: shift, hasOffset });
      eachVector(f, loop, (at) => {
        const value = f.let(f32x4.mul(f32x4.mul(load(0, at), inverse), scale(at)));
        return [() => store(2, at, value)];
      });
    },
  );
  return { steps: [step], scratchBytes: 0 };
}

/**
 * Gradient of rmsNorm, with n = x r, r = 1 / sqrt(mean(x^2) + eps), g = dy (weight + offset):
 * dx = r (g - n mean(g n)), dweight = sum over rows of dy n.
 *
 * Buffers: x [rows, columns], weight [columns], dy [rows, columns], then dx [rows, columns], dweight [columns]. dx may be dy.
 */
export function rmsNormGradKernel(shape: RmsNormShape, features: CpuFeatures): LoweredKernel {
  const { dtype, eps, offset } = shape;
  const rows: RowBuffer = { layout: "rows", dtype };
  const buffers: RowBuffer[] = [rows, { layout: "shared", dtype }, rows, rows];
  const hasOffset = offset !== 0;
  const extra = [argument.f32(eps), argument.f32(offset)];
  const spec = { ...shape, name: `rmsNormGrad/${hasOffset}`, buffers, sums: [buffers.length], extra };
  return normGradKernel(spec, features, (f, row, { add, extra: parameters }) => {
    const [epsilon, shift] = parameters as [Local, Local];
    const { loop, length, load, store } = row;
    const inverse = splat(f, inverseRms(f, row, epsilon));
    const scale = scaleReader(f, row, { offset: shift, hasOffset });
    const read = (at: Position) => {
      const gradient = load(2, at);
      const normal = f.let(f32x4.mul(load(0, at), inverse));
      return { gradient, normal, scaled: f.let(f32x4.mul(gradient, scale(at))) };
    };
    const along = sumTerm(f, loop, (at) => {
      const { normal, scaled } = read(at);
      return f32x4.mul(normal, scaled);
    });
    const mean = splat(f, f64.div(along, length));
    eachVector(f, loop, (at) => {
      const { gradient, normal, scaled } = read(at);
      const dx = f.let(f32x4.mul(f32x4.sub(scaled, f32x4.mul(normal, mean)), inverse));
      const dweight = f.let(f32x4.mul(gradient, normal));
      return [() => store(3, at, dx), () => add(0, at, dweight)];
    });
  });
}
