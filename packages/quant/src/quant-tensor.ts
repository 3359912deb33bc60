import {
  type Device,
  type DType,
  disposeTree,
  type EmbeddingTable,
  HeddleError,
  isFloat,
  scope,
  type Tensor,
  type TreeNode,
  treeNode,
} from "@heddle/tensor";
import { dequantizeOp, takeRowsOp } from "./ops/dequantize.js";
import { quantLinearOp } from "./ops/quant-linear.js";
import { listParts, type PartName, partNames, partTypes, type QuantLayout } from "./quant-format.js";

/** The tensors of a quantised weight; which are there says `partTypes`. */
export type QuantParts = Partial<Readonly<Record<PartName, Tensor>>>;

/**
 * A weight W [out, in] whose numbers stay quantised in memory: w = (code - offset) * scale + min.
 *
 * It takes the place of a dense weight in `linear`, of a table in `embedding`, and is a branch of weight trees whose leaves
 * are its tensors. Gradients flow to x, not to the weight. Free it with `dispose()`, `using` or `disposeTree`.
 */
export class QuantTensor implements EmbeddingTable, TreeNode {
  readonly layout: QuantLayout;
  readonly parts: QuantParts;

  /** Use `quantFromBlocks`, `quantFromParts` or `quantizeTensor` instead. */
  constructor(layout: QuantLayout, parts: QuantParts) {
    this.layout = layout;
    this.parts = parts;
  }

  get inFeatures(): number {
    return this.layout.inFeatures;
  }

  get outFeatures(): number {
    return this.layout.outFeatures;
  }

  get shape(): readonly [number, number] {
    return [this.layout.outFeatures, this.layout.inFeatures];
  }

  get device(): Device {
    return this.#first().device;
  }

  /** Dtype of the rows that `take` and `dequantize` give: f32, on the reference device f64. */
  get dtype(): DType {
    return this.device.defaultFloat;
  }

  /** Bytes in memory. */
  get byteLength(): number {
    return this.#tensors().reduce((sum, { byteLength }) => sum + byteLength, 0);
  }

  get bitsPerWeight(): number {
    return (8 * this.byteLength) / (this.inFeatures * this.outFeatures);
  }

  /**
   * y = x W^T. Shapes: x [.., in] float -> [.., out] of x's dtype.
   * @throws HeddleError "shape" if x does not end in `inFeatures`, "dtype" if it is no float
   */
  apply(x: Tensor): Tensor {
    if (!isFloat(x.dtype)) {
      const message = `linear: x must be a float; got ${x.dtype} [${x.shape.join(", ")}]. Cast it to f32 first.`;
      throw new HeddleError("dtype", message, { dtype: x.dtype });
    }
    if (x.dtype === "f32" || x.dtype === "f64")
      return quantLinearOp.call([x, ...this.#tensors()], this.layout);
    return scope(x.device, () =>
      quantLinearOp.call([x.cast("f32"), ...this.#tensors()], this.layout).cast(x.dtype),
    );
  }

  /** Rows of W. Shapes: ids [..] i32 or u32 -> [.., in]; an id out of range gives zeros. */
  take(ids: Tensor): Tensor {
    return takeRowsOp.call([ids, ...this.#tensors()], this.#widening());
  }

  /** W as a dense tensor [out, in]. */
  dequantize(): Tensor {
    return dequantizeOp.call(this.#tensors(), this.#widening());
  }

  dispose(): void {
    disposeTree(this.parts);
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  [treeNode]() {
    const { layout, parts } = this;
    return {
      children: { layout, ...parts },
      rebuild: ({ layout: sameLayout, ...others }: Readonly<Record<string, unknown>>) =>
        new QuantTensor(sameLayout as QuantLayout, others as QuantParts),
    };
  }

  #widening() {
    return { ...this.layout, dtype: this.device.defaultFloat };
  }

  #first(): Tensor {
    const { codes } = this.parts;
    if (codes !== undefined) return codes;
    throw new HeddleError(
      "config",
      "QuantTensor: a weight must have codes; got none. Use quantFromParts.",
      {},
    );
  }

  #tensors(): Tensor[] {
    return listParts(this.parts);
  }
}

/**
 * Puts a quantised weight together from tensors of the types that `partTypes(layout)` says, such as those that were saved
 * from `QuantTensor.parts`. The weight owns them from then on.
 * @throws HeddleError "format" if a tensor is missing or of another type
 */
export function quantFromParts(layout: QuantLayout, parts: QuantParts): QuantTensor {
  const types = partTypes(layout);
  for (const name of partNames) {
    const [expected, got] = [types[name], parts[name]];
    const text = (type: { shape: readonly number[]; dtype: string } | undefined) =>
      type === undefined ? "none" : `${type.dtype} [${type.shape.join(", ")}]`;
    if (text(expected) === text(got)) continue;
    throw new HeddleError(
      "format",
      `quantFromParts: ${name} must be ${text(expected)}; got ${text(got)}. Pass the tensors of one weight with its layout.`,
      { name, expected, got: got && { shape: got.shape, dtype: got.dtype } },
    );
  }
  return new QuantTensor(layout, parts);
}
