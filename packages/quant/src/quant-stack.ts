import {
  type Device,
  HeddleError,
  isFloat,
  type StackedWeight,
  scope,
  type Tensor,
  type TreeNode,
  treeNode,
} from "@heddle/tensor";
import { quantStackLinearOp } from "./ops/quant-stack-linear.js";
import { listParts } from "./quant-format.js";
import type { QuantTensor } from "./quant-tensor.js";
import { type QuantScheme, quantizeTensor } from "./quantize-tensor.js";

/**
 * A stack of quantised matrices [X, out, in] of which each row meets one, such as the experts of a layer.
 *
 * They lie in one quantised weight [X out, in], below each other; a product reads the chosen ones where they lie. It is a branch of
 * weight trees, as a `QuantTensor` is. Gradients flow to x, not to the weight. Free it with `dispose()`, `using` or `disposeTree`.
 */
export class QuantStack implements StackedWeight, TreeNode {
  readonly matrix: QuantTensor;
  readonly numMatrices: number;

  /** Use `quantizeStack` instead. Owns `matrix`, whose rows are a multiple of `numMatrices`. */
  constructor(matrix: QuantTensor, numMatrices: number) {
    this.matrix = matrix;
    this.numMatrices = numMatrices;
  }

  get inFeatures(): number {
    return this.matrix.inFeatures;
  }

  get outFeatures(): number {
    return this.matrix.outFeatures / this.numMatrices;
  }

  get shape(): readonly [number, number, number] {
    return [this.numMatrices, this.outFeatures, this.inFeatures];
  }

  get device(): Device {
    return this.matrix.device;
  }

  /** Bytes in memory. */
  get byteLength(): number {
    return this.matrix.byteLength;
  }

  /**
   * y_r = W[which_r] x_r. Shapes: x [R, in] float, which [R] i32, each in 0..X-1 -> [R, out] of x's dtype; another number
   * gives zeros.
   * @throws HeddleError "shape" or "dtype" if the extents or types do not fit
   */
  applyEach(x: Tensor, which: Tensor): Tensor {
    if (!isFloat(x.dtype) || which.dtype !== "i32") {
      const message = `QuantStack: x must be a float and which i32; got ${x.dtype} and ${which.dtype}. Cast them.`;
      throw new HeddleError("dtype", message, { x: x.dtype, which: which.dtype });
    }
    const { layout, parts } = this.matrix;
    const tensors = listParts(parts);
    const params = { ...layout, numMatrices: this.numMatrices };
    if (x.dtype === "f32" || x.dtype === "f64")
      return quantStackLinearOp.call([x, which, ...tensors], params);
    return scope(x.device, () =>
      quantStackLinearOp.call([x.cast("f32"), which, ...tensors], params).cast(x.dtype),
    );
  }

  /** The stack as a dense tensor [X, out, in]. */
  dequantize(): Tensor {
    return scope(this.device, () => this.matrix.dequantize().reshape(this.shape));
  }

  dispose(): void {
    this.matrix.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  [treeNode]() {
    const { matrix, numMatrices } = this;
    return {
      children: { matrix, numMatrices },
      rebuild: (children: Readonly<Record<string, unknown>>) =>
        new QuantStack(children.matrix as QuantTensor, children.numMatrices as number),
    };
  }
}

/**
 * Quantises a stack of dense matrices, each output of each by itself, as `quantizeTensor` does.
 *
 * Shapes: weight [X, out, in].
 * @param weight  borrowed; floats on any device
 * @returns a stack on the same device that the caller disposes
 * @throws HeddleError "shape" if it has not three axes, and what `quantizeTensor` throws
 */
export async function quantizeStack(weight: Tensor, scheme: QuantScheme): Promise<QuantStack> {
  const [numMatrices, outFeatures, inFeatures] = weight.shape;
  if (
    weight.rank !== 3 ||
    numMatrices === undefined ||
    outFeatures === undefined ||
    inFeatures === undefined
  ) {
    const message = `quantizeStack: the weight must be a stack of matrices [X, out, in]; got [${weight.shape.join(", ")}]. Use quantizeTensor for one matrix.`;
    throw new HeddleError("shape", message, { shape: weight.shape });
  }
  using rows = weight.reshape([numMatrices * outFeatures, inFeatures]);
  return new QuantStack(await quantizeTensor(rows, scheme), numMatrices);
}
