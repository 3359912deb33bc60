import type { FunctionBuilder } from "../../wasm/assembler.js";
import { f32, f64 } from "../../wasm/scalar.js";
import { f32x4 } from "../../wasm/simd.js";
import type { Local } from "../../wasm/value.js";
import type { CpuFeatures, LoweredKernel } from "../kernel.js";
import { argument } from "./kernel-step.js";
import { normGradKernel } from "./norm-grad.js";
import { eachVector, type Position, sumTerm, sumTerms } from "./row.js";
import { type RowAccess, type RowBuffer, type RowShape, rowStep } from "./row-kernel.js";

export interface LayerNormShape extends RowShape {
  /** Added to the variance. */
  readonly eps: number;
  readonly hasWeight: boolean;
  readonly hasBias: boolean;
}

/** Mean and 1 / sqrt(variance + eps) of the row in buffer 0, in every lane. Two passes: exact also far from 0. */
function rowMoments(f: FunctionBuilder, { loop, length, load }: RowAccess, eps: Local) {
  const sum = sumTerm(f, loop, (at) => load(0, at));
  const mean = f.let(f32x4.splat(f32.demoteF64(f64.div(sum, length))));
  const squares = sumTerm(f, loop, (at) => {
    const centred = f.let(f32x4.sub(load(0, at), mean));
    return f32x4.mul(centred, centred);
  });
  const variance = f64.add(f64.div(squares, length), f64.promoteF32(eps as Local<"f32">));
  return { mean, inverse: f.let(f32x4.splat(f32.demoteF64(f64.div(1, f64.sqrt(variance))))) };
}

/**
 * Shifts and scales rows to mean 0 and variance 1: y = (x - mean) / sqrt(variance + eps) * weight + bias.
 *
 * Buffers: x [rows, columns], weight [columns] if any, bias [columns] if any, y [rows, columns]; y may be x.
 */
export function layerNormKernel(shape: LayerNormShape, features: CpuFeatures): LoweredKernel {
  const { dtype, eps, hasWeight, hasBias } = shape;
  const rows: RowBuffer = { layout: "rows", dtype };
  const affine = [hasWeight, hasBias].filter(Boolean).map((): RowBuffer => ({ layout: "shared", dtype }));
  const buffers = [rows, ...affine, rows];
  const [weight, bias, output] = [1, hasWeight ? 2 : 1, buffers.length - 1];
  const name = `layerNorm/${hasWeight}/${hasBias}`;
  const step = rowStep(
    { ...shape, name, buffers, extra: [argument.f32(eps)], features },
    (f, row, [epsilon]) => {
      const { loop, load, store } = row;
      const { mean, inverse } = rowMoments(f, row, epsilon as Local);
      eachVector(f, loop, (at) => {
        const normal = f32x4.mul(f32x4.sub(load(0, at), mean), inverse);
        const scaled = hasWeight ? f32x4.mul(normal, load(weight, at)) : normal;
        const value = f.let(hasBias ? f32x4.add(scaled, load(bias, at)) : scaled);
        return [() => store(output, at, value)];
      });
    },
  );
  return { steps: [step], scratchBytes: 0 };
}

/**
 * Gradient of layerNorm, with n = (x - mean) r, r = 1 / sqrt(variance + eps), g = dy weight:
 * dx = r (g - mean(g) - n mean(g n)), dweight = sum over rows of dy n, dbias = sum over rows of dy.
 *
 * Buffers: x [rows, columns], weight [columns] if any, dy [rows, columns], then dx [rows, columns], dweight [columns] if there
 * is a weight, dbias [columns] if there is a bias. dx may be dy.
 */
export function layerNormGradKernel(shape: LayerNormShape, features: CpuFeatures): LoweredKernel {
  const { dtype, eps, hasWeight, hasBias } = shape;
  const rows: RowBuffer = { layout: "rows", dtype };
  const buffers: RowBuffer[] = [
    rows,
    ...(hasWeight ? [{ layout: "shared" as const, dtype }] : []),
    rows,
    rows,
  ];
  const [dy, dx] = [buffers.length - 2, buffers.length - 1];
  const sums = [hasWeight, hasBias].filter(Boolean).map((_, s) => buffers.length + s);
  const spec = {
    ...shape,
    name: `layerNormGrad/${hasWeight}/${hasBias}`,
    buffers,
    sums,
    extra: [argument.f32(eps)],
  };
  return normGradKernel(spec, features, (f, row, { add, extra: [epsilon] }) => {
    const { loop, length, load, store } = row;
    const { mean, inverse } = rowMoments(f, row, epsilon as Local);
    const read = (at: Position) => {
      const gradient = load(dy, at);
      const normal = f.let(f32x4.mul(f32x4.sub(load(0, at), mean), inverse));
      const scaled = hasWeight ? f.let(f32x4.mul(gradient, load(1, at))) : gradient;
      return { gradient, normal, scaled };
    };
    const sumsOfRow = sumTerms(f, loop, 2, (at) => {
      const { normal, scaled } = read(at);
      return { terms: [scaled, f32x4.mul(scaled, normal)] };
    });
    const [meanScaled = mean, meanAlong = mean] = sumsOfRow.map((sum) =>
      f.let(f32x4.splat(f32.demoteF64(f64.div(sum, length)))),
    );
    eachVector(f, loop, (at) => {
      const { gradient, normal, scaled } = read(at);
      const along = f32x4.sub(f32x4.sub(scaled, meanScaled), f32x4.mul(normal, meanAlong));
      const value = f.let(f32x4.mul(along, inverse));
      const dweight = f.let(f32x4.mul(gradient, normal));
      return [
        () => store(dx, at, value),
        ...(hasWeight ? [() => add(0, at, dweight)] : []),
        ...(hasBias ? [() => add(hasWeight ? 1 : 0, at, gradient)] : []),
      ];
    });
  });
}
