import { layerNormGradKernel, layerNormKernel } from "../cpu/kernels/layer-norm.js";
import { rmsNormGradKernel, rmsNormKernel } from "../cpu/kernels/rms-norm.js";
import { isHalf } from "../dtype.js";
import { HeddleError } from "../error.js";
import { defineOp, type Op } from "../op.js";
import { formatType, type TensorType } from "../shape.js";
import type { Tensor } from "../tensor.js";
import { normVectorsWgsl } from "../wgsl/kernels/row-vectors.js";
import { layerNormGradWgsl, layerNormWgsl, rmsNormGradWgsl, rmsNormWgsl } from "../wgsl/kernels/rows.js";
import { rowShapeOf } from "./kernel-shapes.js";

function checkAffine(caller: string, inputs: readonly TensorType[]): TensorType[] {
  const [x, ...affine] = inputs;
  const width = x?.shape.at(-1);
  for (const weight of affine) {
    if (weight.shape.length !== 1 || weight.shape[0] !== width || weight.dtype !== x?.dtype) {
      throw new HeddleError(
        "shape",
        `${caller}: weight and bias must be vectors of the last axis' extent and dtype; got x ${x && formatType(x)}, ${formatType(weight)}. Reshape or cast the weight.`,
        { x: x?.shape, weight: weight.shape },
      );
    }
  }
  return x ? [{ shape: x.shape, dtype: x.dtype }] : [];
}

export interface RmsNormParams {
  readonly eps: number;
  /** Added to the weight: 0, or 1 where checkpoints store weight - 1 (Gemma). */
  readonly offset: number;
}

/** Inputs x, weight. */
export const rmsNormOp: Op<RmsNormParams> = defineOp({
  name: "rmsNorm",
  infer: (inputs) => checkAffine("rmsNorm", inputs),
  reference([x, weight], { eps, offset }) {
    if (!x || !weight) return [];
    const wide = isHalf(x.dtype) ? x.cast("f32") : x;
    const scale = weight.cast(wide.dtype);
    const inverse = wide.square().mean({ axes: -1, keepDims: true }).add(eps).rsqrt();
    return [
      wide
        .mul(inverse)
        .mul(offset === 0 ? scale : scale.add(offset))
        .cast(x.dtype),
    ];
  },
  vjp({ inputs: [x, weight], grads: [g], params }) {
    return x && weight && g ? rmsNormGradOp.apply([x, weight, g], params) : [];
  },
  kernels: {
    wasm({ inputs: [x], params }, features) {
      const rows = rowShapeOf(x);
      return rows && rmsNormKernel({ ...rows, ...params }, features);
    },
    wgsl: ({ inputs: [x], params }, features) =>
      x && (normVectorsWgsl(x, { kind: "rms", ...params }, features) ?? rmsNormWgsl(x, params)),
    pieces: { norm: ({ params }) => ({ kind: "rms", ...params, weight: 1, bias: undefined }) },
  },
});

/**
 * Inputs x, weight, g; outputs dx, dweight. With n = x r, r = (mean x^2 + eps)^(-1/2), u = g (weight + offset):
 * dx = r (u - n mean(u n)), dweight = sum(g n).
 */
export const rmsNormGradOp: Op<RmsNormParams> = defineOp({
  name: "rmsNormGrad",
  infer: ([x, weight]) => (x && weight ? [x, weight] : []).map(({ shape, dtype }) => ({ shape, dtype })),
  reference([x, weight, g], { eps, offset }) {
    if (!x || !weight || !g) return [];
    const inverse = x.square().mean({ axes: -1, keepDims: true }).add(eps).rsqrt();
    const normalized = x.mul(inverse);
    const u = g.mul(offset === 0 ? weight : weight.add(offset));
    const along = normalized.mul(u.mul(normalized).mean({ axes: -1, keepDims: true }));
    return [u.sub(along).mul(inverse), g.mul(normalized).sum({ axes: leadingAxes(x) })];
  },
  kernels: {
    wasm({ inputs: [x], params }, features) {
      const rows = rowShapeOf(x);
      return rows && rmsNormGradKernel({ ...rows, ...params }, features);
    },
    wgsl: ({ inputs: [x], params }) => x && rmsNormGradWgsl(x, params),
  },
});

const leadingAxes = (x: Tensor) => x.shape.slice(0, -1).map((_, axis) => axis);

export interface LayerNormParams {
  readonly eps: number;
  readonly hasWeight: boolean;
  readonly hasBias: boolean;
}

/** Inputs x, then weight and bias where present. */
export const layerNormOp: Op<LayerNormParams> = defineOp({
  name: "layerNorm",
  infer: (inputs) => checkAffine("layerNorm", inputs),
  reference([x, ...affine], { eps, hasWeight, hasBias }) {
    if (!x) return [];
    const wide = isHalf(x.dtype) ? x.cast("f32") : x;
    const centred = wide.sub(wide.mean({ axes: -1, keepDims: true }));
    let y = centred.mul(centred.square().mean({ axes: -1, keepDims: true }).add(eps).rsqrt());
    const weight = hasWeight ? affine[0] : undefined;
    const bias = hasBias ? affine.at(-1) : undefined;
    if (weight) y = y.mul(weight.cast(wide.dtype));
    if (bias) y = y.add(bias.cast(wide.dtype));
    return [y.cast(x.dtype)];
  },
  vjp({ inputs: [x, ...affine], grads: [g], params }) {
    if (!x || !g) return [];
    const weight = params.hasWeight ? affine.slice(0, 1) : [];
    return layerNormGradOp.apply([x, ...weight, g], params);
  },
  kernels: {
    wasm({ inputs: [x], params }, features) {
      const rows = rowShapeOf(x);
      return rows && layerNormKernel({ ...rows, ...params }, features);
    },
    wgsl: ({ inputs: [x], params }, features) =>
      x && (normVectorsWgsl(x, { kind: "layer", ...params }, features) ?? layerNormWgsl(x, params)),
    pieces: {
      norm: ({ params: { eps, hasWeight, hasBias } }) => ({
        kind: "layer",
        eps,
        offset: 0,
        weight: hasWeight ? 1 : undefined,
        bias: hasBias ? (hasWeight ? 2 : 1) : undefined,
      }),
    },
  },
});

/**
 * Inputs x, weight if any, g; outputs dx, then dweight and dbias where the op has them. With n = (x - mean) r,
 * r = (variance + eps)^(-1/2), u = g weight: dx = r (u - mean(u) - n mean(u n)), dweight = sum(g n), dbias = sum(g).
 */
export const layerNormGradOp: Op<LayerNormParams> = defineOp({
  name: "layerNormGrad",
  infer([x], { hasWeight, hasBias }) {
    if (!x) return [];
    const vector = { shape: x.shape.slice(-1), dtype: x.dtype };
    return [{ shape: x.shape, dtype: x.dtype }, ...(hasWeight ? [vector] : []), ...(hasBias ? [vector] : [])];
  },
  reference([x, ...rest], { eps, hasWeight, hasBias }) {
    const g = rest.at(-1);
    if (!x || !g) return [];
    const centred = x.sub(x.mean({ axes: -1, keepDims: true }));
    const inverse = centred.square().mean({ axes: -1, keepDims: true }).add(eps).rsqrt();
    const normalized = centred.mul(inverse);
    const u = hasWeight && rest[0] ? g.mul(rest[0]) : g;
    const along = normalized.mul(u.mul(normalized).mean({ axes: -1, keepDims: true }));
    const axes = leadingAxes(x);
    return [
      u
        .sub(u.mean({ axes: -1, keepDims: true }))
        .sub(along)
        .mul(inverse),
      ...(hasWeight ? [g.mul(normalized).sum({ axes })] : []),
      ...(hasBias ? [g.sum({ axes })] : []),
    ];
  },
  kernels: {
    wasm({ inputs: [x], params }, features) {
      const rows = rowShapeOf(x);
      return rows && layerNormGradKernel({ ...rows, ...params }, features);
    },
    wgsl: ({ inputs: [x], params }) => x && layerNormGradWgsl(x, params),
  },
});

/**
 * Scales each vector of the last axis to a root mean square of 1: y = x / sqrt(mean(x^2) + eps) * (weight + offset).
 *
 * Shapes: x [.., E], weight [E] -> [.., E]; one float dtype, half floats computed in f32.
 * @param options.eps     added to the mean square, unitless; default 1e-6
 * @param options.offset  added to the weight; default 0
 * @returns a new tensor that the caller owns
 * @throws HeddleError "shape" if the weight is not a vector of extent E
 * @see Zhang and Sennrich 2019, Root Mean Square Layer Normalization, arXiv:1910.07467, equation 4
 */
export function rmsNorm(
  x: Tensor,
  weight: Tensor,
  options: { readonly eps?: number; readonly offset?: number } = {},
): Tensor {
  return rmsNormOp.call([x, weight], { eps: options.eps ?? 1e-6, offset: options.offset ?? 0 });
}

export interface LayerNormOptions {
  readonly weight?: Tensor;
  readonly bias?: Tensor;
  /** Added to the variance, unitless; default 1e-5. */
  readonly eps?: number;
}

/**
 * Shifts and scales each vector of the last axis to mean 0 and variance 1, then applies weight and bias where given.
 *
 * Shapes: x [.., E], weight [E], bias [E] -> [.., E]; one float dtype, half floats computed in f32.
 * @returns a new tensor that the caller owns
 * @throws HeddleError "shape" if weight or bias is not a vector of extent E
 * @see Ba, Kiros and Hinton 2016, Layer Normalization, arXiv:1607.06450
 */
export function layerNorm(x: Tensor, options: LayerNormOptions = {}): Tensor {
  const { weight, bias, eps = 1e-5 } = options;
  const inputs = [x, weight, bias].filter((input): input is Tensor => input !== undefined);
  return layerNormOp.call(inputs, { eps, hasWeight: weight !== undefined, hasBias: bias !== undefined });
}
