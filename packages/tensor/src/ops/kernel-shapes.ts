import type { CpuFeatures, LoweredKernel } from "../cpu/kernel.js";
import type { WasmKernelFactory } from "../cpu/kernel-factory.js";
import type { AxisShape } from "../cpu/kernels/axis-shape.js";
import type { LaneDType } from "../cpu/kernels/lanes.js";
import type { RowShape } from "../cpu/kernels/row-kernel.js";
import { sizeOf, type TensorType } from "../shape.js";

/** The dtype as kernels know it; undefined for f64, which only the reference device has. */
export function laneDTypeOf(x: TensorType | undefined): LaneDType | undefined {
  return x === undefined || x.dtype === "f64" ? undefined : x.dtype;
}

/** A float tensor seen as rows of its last axis; undefined for other dtypes. */
export function rowShapeOf(x: TensorType | undefined): RowShape | undefined {
  if (x === undefined || (x.dtype !== "f32" && x.dtype !== "f16" && x.dtype !== "bf16")) return undefined;
  return { rows: sizeOf(x.shape.slice(0, -1)), columns: x.shape.at(-1) ?? 1, dtype: x.dtype };
}

/** A tensor seen around one axis: what lies before it, along it and behind it. */
export function axisShapeOf(x: TensorType | undefined, axis: number): AxisShape | undefined {
  const dtype = laneDTypeOf(x);
  if (x === undefined || dtype === undefined) return undefined;
  const [outer, inner] = [sizeOf(x.shape.slice(0, axis)), sizeOf(x.shape.slice(axis + 1))];
  return { outer, extent: x.shape[axis] ?? 1, inner, dtype };
}

/** Makes the kernel factory of an op that treats each row of its first input alike. */
export function onRows(make: (shape: RowShape, features: CpuFeatures) => LoweredKernel): WasmKernelFactory {
  return ({ inputs: [x] }, features) => {
    const shape = rowShapeOf(x);
    return shape && make(shape, features);
  };
}
