// The door for authors of kernels: the assembler and the types of the CPU device's launches.
export type {
  CpuFeatures,
  KernelArgument,
  KernelModule,
  KernelStep,
  LoweredKernel,
} from "../cpu/kernel.js";
export type { WasmKernelFactory } from "../cpu/kernel-factory.js";
export { argument, kernelStep, type UnitRange } from "../cpu/kernels/kernel-step.js";
export { assemble, FunctionBuilder, type Label, type StoreKind } from "../wasm/assembler.js";
export { atomic } from "../wasm/atomic.js";
export { f32, f64, i32, i64 } from "../wasm/scalar.js";
export { f32x4, f64x2, i8x16, i16x8, i32x4, i64x2, type V128, v128 } from "../wasm/simd.js";
export { type LaneMath, laneMath } from "../wasm/simd-math.js";
export {
  type F32,
  type F64,
  type I32,
  type I64,
  type Local,
  select,
  type Value,
  type ValueType,
} from "../wasm/value.js";
