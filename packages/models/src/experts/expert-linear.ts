import {
  add,
  defineOp,
  HeddleError,
  isFloat,
  isHalf,
  matmul,
  type Op,
  oneHot,
  scope,
  Tensor,
  type TensorType,
  take,
  transpose,
} from "@heddle/tensor";
import type { ExpertLinearWeights } from "../weights.js";
import { expertLinearWasm } from "./expert-linear.wasm.js";
import { expertLinearWgsl } from "./expert-linear.wgsl.js";

/**
 * Applies to each row the matrix, and bias, of its own expert: y_r = W[expert_r] x_r + b[expert_r].
 *
 * Shapes: x [R, in], weight [X, out, in], bias [X, out], expert [R] i32 -> [R, out]. Only experts that a row names are read,
 * each once for all of its rows. A dense weight may be in half precision beside x in f32. Differentiable in x, bias and a dense weight.
 * Every expert must lie in 0..X-1.
 * @returns a new tensor that the caller disposes
 * @throws HeddleError "shape" or "dtype" if the extents or types do not fit
 */
export function expertLinear(x_RI: Tensor, { weight, bias }: ExpertLinearWeights, expert_R: Tensor): Tensor {
  return scope(x_RI.device, () => {
    const y_RO =
      weight instanceof Tensor
        ? expertLinearOp.call([x_RI, weight, expert_R], {})
        : weight.applyEach(x_RI, expert_R);
    return bias === undefined ? y_RO : add(y_RO, take(bias, expert_R));
  });
}

/** Inputs x, weight, expert. Twin of the kernel: a copy of each row's matrix, and a product with it. */
const expertLinearOp: Op<Record<string, never>> = defineOp({
  name: "expertLinear",
  infer: inferExpertLinear,
  reference([x, weight, expert]) {
    if (!x || !weight || !expert) return [];
    return [matmul(take(weight, expert).cast(x.dtype), x.expandDims(2)).squeeze([2])];
  },
  vjp({ inputs: [x, weight, expert], grads: [g], needed }) {
    if (!x || !weight || !expert || !g) return [];
    const back = () => expertLinearOp.call([g, transpose(weight, [0, 2, 1]), expert], {});
    const weightGrad = () => weightGradient({ x, weight, expert, g }).cast(weight.dtype);
    return [needed[0] ? back() : undefined, needed[1] ? weightGrad() : undefined];
  },
  kernels: { wasm: expertLinearWasm, wgsl: expertLinearWgsl },
});

/** dW[e] = sum over rows of e of g_r x_r^T: [X, out, in]. */
function weightGradient({
  x,
  weight,
  expert,
  g,
}: {
  readonly x: Tensor;
  readonly weight: Tensor;
  readonly expert: Tensor;
  readonly g: Tensor;
}): Tensor {
  const [numExperts = 0, out = 0, into = 0] = weight.shape;
  const rows = x.shape[0] ?? 0;
  const own_XR1 = oneHot(expert, numExperts).cast(g.dtype).transpose([1, 0]).reshape([numExperts, rows, 1]);
  const masked_XRO = g.reshape([1, rows, out]).mul(own_XR1);
  return matmul(masked_XRO.transpose([0, 2, 1]), x.reshape([1, rows, into]));
}

function inferExpertLinear(inputs: readonly TensorType[]): readonly TensorType[] {
  const [x, weight, expert] = inputs as readonly [TensorType, TensorType, TensorType];
  const [rows = 0, into] = x.shape;
  const fits =
    x.shape.length === 2 &&
    weight.shape.length === 3 &&
    weight.shape[2] === into &&
    expert.shape.length === 1 &&
    expert.shape[0] === rows;
  if (!fits) {
    const got = [x, weight, expert].map(({ shape }) => `[${shape.join(", ")}]`).join(", ");
    const message = `expertLinear: x must be [R, in], weight [X, out, in] and expert [R]; got ${got}. Reshape the rows to two axes.`;
    throw new HeddleError("shape", message, { x: x.shape, weight: weight.shape, expert: expert.shape });
  }
  const isWidened = isHalf(weight.dtype) && isFloat(x.dtype);
  if ((x.dtype !== weight.dtype && !isWidened) || expert.dtype !== "i32") {
    const message = `expertLinear: x and weight must be of one dtype, or weight in half precision, and expert i32; got ${x.dtype}, ${weight.dtype}, ${expert.dtype}. Cast them.`;
    throw new HeddleError("dtype", message, { x: x.dtype, weight: weight.dtype, expert: expert.dtype });
  }
  return [{ shape: [rows, weight.shape[1] ?? 0], dtype: x.dtype }];
}
