import type { CpuFeatures, LoweredKernel, WasmKernelFactory } from "../cpu/kernel.js";
import type { RowShape } from "../cpu/kernels/row-kernel.js";
import { sizeOf, type TensorType } from "../shape.js";

/** A tensor seen as rows of its last axis, as the row kernels take it; undefined for dtypes that they do not know. */
export function rowShapeOf(x: TensorType | undefined): RowShape | undefined {
  if (x === undefined || (x.dtype !== "f32" && x.dtype !== "f16" && x.dtype !== "bf16")) return undefined;
  return { rows: sizeOf(x.shape.slice(0, -1)), columns: x.shape.at(-1) ?? 1, dtype: x.dtype };
}

/** Makes the kernel factory of an op that treats each row of its first input alike. */
export function onRows(make: (shape: RowShape, features: CpuFeatures) => LoweredKernel): WasmKernelFactory {
  return ({ inputs: [x] }, features) => {
    const shape = rowShapeOf(x);
    return shape && make(shape, features);
  };
}
