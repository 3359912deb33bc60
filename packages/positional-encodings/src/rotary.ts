import {
  arange,
  concat,
  defineOp,
  HeddleError,
  isFloat,
  isHalf,
  type Op,
  stack,
  type Tensor,
  type TensorType,
  tensor,
} from "@heddle/tensor";
import { rotaryWasm } from "./kernels/rotary.wasm.js";
import { rotaryPiece, rotaryWgsl } from "./kernels/rotary.wgsl.js";
import { type RopeFrequencies, ropeFrequencies } from "./rope-frequencies.js";
import type { RotaryLayout, RotaryParams } from "./rotary-params.js";

/** By which angles heads turn, and which features form a pair. */
export interface RotaryOptions {
  /** From `ropeFrequencies`. Default: those of the whole head with base `theta`. */
  readonly frequencies?: RopeFrequencies;
  /** Base wavelength where no `frequencies` are given, unitless. Default 10 000. */
  readonly theta?: number;
  /** Position of each token, int32, `[T]` or `[B, T]`. Default 0..T-1. */
  readonly positions?: Tensor;
  /** Default "half". */
  readonly layout?: RotaryLayout;
}

/**
 * Rotates feature pairs by position (rotary encoding): y = s R(position * f_i) x for pair i, the rest of the head unchanged.
 *
 * Shapes: x [B, H, T, D] -> [B, H, T, D]; positions [T] or [B, T] int32, in tokens, read at each run (a compiled function
 * may be given new ones); frequencies [R / 2] with R <= D: with R < D only the first R features turn.
 * Angles are computed in float64, so positions of a million stay exact to about 1e-7.
 * @returns a new tensor of x's dtype (f16 and bf16 are computed in f32); the caller disposes it
 * @throws HeddleError "shape" if x is not of rank 4, R is above D, or positions do not fit; "dtype" if x is no float or positions are not i32;
 * "config" as `ropeFrequencies` where no frequencies are given
 * @see Su et al. 2021, RoFormer, arXiv:2104.09864, section 3.4. Twin: `rotaryReference` below
 * Differs from the paper: the default layout pairs (i, i + R/2) as Hugging Face's Llama does; "interleaved" is the paper's.
 */
export function rotary(x: Tensor, options: RotaryOptions = {}): Tensor {
  const { theta, layout = "half", positions } = options;
  checkInput(x);
  const frequencies = options.frequencies ?? ropeFrequencies({ rotaryDim: x.shape[3] ?? 0, theta });
  const params: RotaryParams = {
    inverseFrequencies: Array.from(frequencies.inverseFrequencies),
    attentionScale: frequencies.attentionScale,
    layout,
    isInverse: false,
  };
  const rest = positions === undefined ? [] : [positions];
  return rotaryOp.call([x, ...rest], params);
}

const rotaryOp: Op<RotaryParams> = defineOp({
  name: "rotary",
  infer: inferRotary,
  reference: rotaryReference,
  vjp: ({ inputs: [, ...positions], grads: [grad], params }) =>
    grad === undefined
      ? [undefined]
      : [rotaryOp.call([grad, ...positions], { ...params, isInverse: !params.isInverse }), undefined],
  kernels: { wasm: rotaryWasm, wgsl: rotaryWgsl, pieces: { rotation: rotaryPiece } },
});

function checkInput(x: TensorType): void {
  if (x.shape.length !== 4) {
    throw new HeddleError(
      "shape",
      `rotary: x must be [batch, heads, seq, headDim]; got x [${x.shape.join(", ")}]. Reshape it to four axes.`,
      { x: x.shape },
    );
  }
  if (!isFloat(x.dtype)) {
    throw new HeddleError("dtype", `rotary: x must be a float; got ${x.dtype}. Cast it to f32 first.`, {
      dtype: x.dtype,
    });
  }
}

function inferRotary([x, positions]: readonly TensorType[], params: RotaryParams): readonly TensorType[] {
  if (x === undefined) return [];
  const [batch, , seqLen, headDim = 0] = x.shape;
  const rotaryDim = 2 * params.inverseFrequencies.length;
  if (rotaryDim > headDim) {
    throw new HeddleError(
      "shape",
      `rotary: frequencies must turn at most headDim features; got rotaryDim ${rotaryDim}, headDim ${headDim}. Call ropeFrequencies with rotaryDim ${headDim - (headDim % 2)} or less.`,
      { rotaryDim, headDim },
    );
  }
  if (positions === undefined) return [{ shape: x.shape, dtype: x.dtype }];
  const fits =
    (positions.shape.length === 1 && positions.shape[0] === seqLen) ||
    (positions.shape.length === 2 && positions.shape[0] === batch && positions.shape[1] === seqLen);
  if (!fits) {
    throw new HeddleError(
      "shape",
      `rotary: positions must be [seq] or [batch, seq]; got positions [${positions.shape.join(", ")}], x [${x.shape.join(", ")}]. Give one position per token.`,
      { positions: positions.shape, x: x.shape },
    );
  }
  if (positions.dtype !== "i32") {
    throw new HeddleError(
      "dtype",
      `rotary: positions must be i32; got ${positions.dtype}. Create them with { dtype: "i32" }.`,
      { dtype: positions.dtype },
    );
  }
  return [{ shape: x.shape, dtype: x.dtype }];
}

/** The op as a composition: cos and sin of every angle, then one rotation per pair. Half floats are widened for it. */
function rotaryReference([x, given]: readonly Tensor[], params: RotaryParams): readonly Tensor[] {
  if (x === undefined) return [];
  if (isHalf(x.dtype)) {
    const rest = given === undefined ? [] : [given];
    return [rotaryOp.call([x.cast("f32"), ...rest], params).cast(x.dtype)];
  }
  const { inverseFrequencies, attentionScale, layout, isInverse } = params;
  const [, , seqLen = 0, headDim = 0] = x.shape;
  const rotaryDim = 2 * inverseFrequencies.length;
  const positions = given ?? arange(x.device, seqLen, { dtype: "i32" });
  const turn = tensor(x.device, inverseFrequencies, { dtype: x.dtype });
  const angles = positions.reshape([-1, 1, seqLen, 1]).cast(x.dtype).mul(turn); // [B or 1, 1, T, R/2]
  const c = angles.cos().mul(attentionScale);
  const s = angles.sin().mul(isInverse ? -attentionScale : attentionScale);
  const turning = x.narrow(3, 0, rotaryDim);
  const rotated = layout === "half" ? rotateHalves(turning, c, s) : rotateNeighbours(turning, c, s);
  if (rotaryDim === headDim) return [rotated];
  return [concat([rotated, x.narrow(3, rotaryDim, headDim)], { axis: 3 })];
}

function rotateHalves(x: Tensor, c: Tensor, s: Tensor): Tensor {
  const dim = x.shape[3] ?? 0;
  const first = x.narrow(3, 0, dim / 2);
  const second = x.narrow(3, dim / 2, dim);
  return concat([first.mul(c).sub(second.mul(s)), second.mul(c).add(first.mul(s))], { axis: 3 });
}

function rotateNeighbours(x: Tensor, c: Tensor, s: Tensor): Tensor {
  const [batch = 0, heads = 0, seqLen = 0, dim = 0] = x.shape;
  const pairs = x.reshape([batch, heads, seqLen, dim / 2, 2]);
  const shape = [batch, heads, seqLen, dim / 2];
  const even = pairs.narrow(4, 0, 1).reshape(shape);
  const odd = pairs.narrow(4, 1, 2).reshape(shape);
  const rotated = stack([even.mul(c).sub(odd.mul(s)), odd.mul(c).add(even.mul(s))], { axis: 4 });
  return rotated.reshape([batch, heads, seqLen, dim]);
}
