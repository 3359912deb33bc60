import { HeddleError } from "../error.js";
import { defineOp, type Op } from "../op.js";
import { formatType, type TensorType } from "../shape.js";
import type { Tensor } from "../tensor.js";

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
    const wide = x.dtype === "f16" || x.dtype === "bf16" ? x.cast("f32") : x;
    const scale = weight.cast(wide.dtype);
    const inverse = wide.square().mean({ axes: -1, keepDims: true }).add(eps).rsqrt();
    return [
      wide
        .mul(inverse)
        .mul(offset === 0 ? scale : scale.add(offset))
        .cast(x.dtype),
    ];
  },
  vjp({ inputs: [x, weight], grads: [g], params, needed }) {
    if (!x || !weight || !g) return [];
    // y = x r w with r = (mean x^2 + eps)^(-1/2): dx = r (g w - x r^2 mean(g w x)), dw = sum(g x r).
    const scale = params.offset === 0 ? weight : weight.add(params.offset);
    const inverse = x.square().mean({ axes: -1, keepDims: true }).add(params.eps).rsqrt();
    const normalized = x.mul(inverse);
    const dx = () => {
      const gw = g.mul(scale);
      return gw.sub(normalized.mul(gw.mul(normalized).mean({ axes: -1, keepDims: true }))).mul(inverse);
    };
    const lead = x.shape.slice(0, -1).map((_, axis) => axis);
    return [needed[0] ? dx() : undefined, needed[1] ? g.mul(normalized).sum({ axes: lead }) : undefined];
  },
});

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
    const wide = x.dtype === "f16" || x.dtype === "bf16" ? x.cast("f32") : x;
    const centred = wide.sub(wide.mean({ axes: -1, keepDims: true }));
    let y = centred.mul(centred.square().mean({ axes: -1, keepDims: true }).add(eps).rsqrt());
    const weight = hasWeight ? affine[0] : undefined;
    const bias = hasBias ? affine.at(-1) : undefined;
    if (weight) y = y.mul(weight.cast(wide.dtype));
    if (bias) y = y.add(bias.cast(wide.dtype));
    return [y.cast(x.dtype)];
  },
  vjp({ inputs: [x, ...affine], grads: [g], params, needed }) {
    if (!x || !g) return [];
    const weight = params.hasWeight ? affine[0] : undefined;
    const centred = x.sub(x.mean({ axes: -1, keepDims: true }));
    const inverse = centred.square().mean({ axes: -1, keepDims: true }).add(params.eps).rsqrt();
    const normalized = centred.mul(inverse);
    const lead = x.shape.slice(0, -1).map((_, axis) => axis);
    const dx = () => {
      const gw = weight ? g.mul(weight) : g;
      const mean = gw.mean({ axes: -1, keepDims: true });
      const along = normalized.mul(gw.mul(normalized).mean({ axes: -1, keepDims: true }));
      return gw.sub(mean).sub(along).mul(inverse);
    };
    const grads: (Tensor | undefined)[] = [needed[0] ? dx() : undefined];
    if (params.hasWeight) grads.push(needed[1] ? g.mul(normalized).sum({ axes: lead }) : undefined);
    if (params.hasBias) grads.push(needed.at(-1) ? g.sum({ axes: lead }) : undefined);
    return grads;
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
