import {
  arange,
  defineOp,
  HeddleError,
  matmul,
  type Op,
  type OpCall,
  type Tensor,
  where,
  zeros,
} from "@heddle/tensor";
import { quantStackLinearWasm } from "../kernels/quant-stack-linear.wasm.js";
import { quantStackLinearWgsl } from "../kernels/quant-stack-linear.wgsl.js";
import type { StackLayout } from "../quant-format.js";
import { takeRowsOp } from "./dequantize.js";

/**
 * y_r = W[which_r] x_r over a stack of quantised matrices.
 *
 * Inputs: x [R, in] f32 (f64 on the reference device), which [R] i32, then the tensors of the weight [X out, in].
 * Shapes: -> [R, out]. Activations are not rounded. Twin of the kernels: `productOfOwn`.
 */
export const quantStackLinearOp: Op<StackLayout> = defineOp({
  name: "quantStackLinear",
  infer([x, which], { inFeatures, outFeatures, numMatrices }) {
    const rows = x?.shape[0] ?? 0;
    const fits =
      x?.shape.length === 2 &&
      x.shape[1] === inFeatures &&
      which?.shape.length === 1 &&
      which.shape[0] === rows;
    if (!fits) {
      const got = [x, which].map((type) => `[${type?.shape.join(", ")}]`).join(" and ");
      const message = `QuantStack: x must be [R, ${inFeatures}] and which [R]; got ${got}. Reshape the rows to two axes.`;
      throw new HeddleError("shape", message, { x: x?.shape, which: which?.shape, inFeatures });
    }
    return [{ shape: [rows, outFeatures / numMatrices], dtype: x.dtype }];
  },
  reference([x, which, ...parts], layout) {
    if (x === undefined || which === undefined) return [];
    return [productOfOwn(layout, { rows: x, which, parts }, { transposeB: true })];
  },
  vjp({ inputs: [, which, ...parts], grads: [grad], params: layout }) {
    if (which === undefined || grad === undefined) return [];
    return [productOfOwn(layout, { rows: grad, which, parts }, { transposeB: false })];
  },
  kernels: {
    wasm: quantStackLinearWasm,
    wgsl: (call) => quantStackLinearWgsl(call.params, call as OpCall),
  },
});

interface ChosenRows {
  /** [R, in], or [R, out] for the transposed product. */
  readonly rows: Tensor;
  readonly which: Tensor;
  readonly parts: readonly Tensor[];
}

/**
 * Each row times its own matrix, by plain ops. Few rows get a widened copy of their matrix each; many rows meet every matrix, one
 * after another, so that never more than one is widened.
 */
function productOfOwn(
  { numMatrices, ...layout }: StackLayout,
  { rows, which, parts }: ChosenRows,
  { transposeB }: { readonly transposeB: boolean },
): Tensor {
  const { device } = rows;
  const outFeatures = layout.outFeatures / numMatrices;
  const params = { ...layout, dtype: rows.dtype === "f64" ? "f64" : "f32" } as const;
  const outputs = arange(device, outFeatures).cast("i32");
  const numRows = rows.shape[0] ?? 0;
  if (numRows <= numMatrices) {
    const ids = which.mul(outFeatures).expandDims(1).add(outputs.expandDims(0));
    const own = takeRowsOp.call([ids, ...parts], params); // [R, out, in]
    return matmul(rows.expandDims(1), own, { transposeB }).squeeze([1]);
  }
  let sum: Tensor | undefined;
  for (let matrix = 0; matrix < numMatrices; matrix++) {
    const one = takeRowsOp.call([outputs.add(matrix * outFeatures), ...parts], params);
    const product = where(which.equal(matrix).expandDims(1), matmul(rows, one, { transposeB }), 0);
    sum = sum?.add(product) ?? product;
  }
  return (
    sum ?? zeros(device, [numRows, transposeB ? outFeatures : layout.inFeatures], { dtype: params.dtype })
  );
}
