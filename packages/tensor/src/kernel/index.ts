// The door for authors of kernels and devices: the assembler and the launches of the CPU device, WGSL and its steps.

export { callKey } from "../call-key.js";
export type {
  CpuFeatures,
  KernelArgument,
  KernelModule,
  KernelStep,
  LoweredKernel,
} from "../cpu/kernel.js";
export type { WasmKernelFactory } from "../cpu/kernel-factory.js";
export {
  canEvaluateLanes,
  constantArguments,
  expressionKey,
  expressionLanes,
  splatConstants,
} from "../cpu/kernels/expression-lanes.js";
export { argument, kernelStep, type UnitRange } from "../cpu/kernels/kernel-step.js";
export { type LaneDType, loadLanes, storeLanes } from "../cpu/kernels/lanes.js";
export type { Epilogue, EpilogueCall } from "../op-forms.js";
export { assemble, FunctionBuilder, type Label, type StoreKind } from "../wasm/assembler.js";
export { atomic } from "../wasm/atomic.js";
export { f32, f64, i32, i64 } from "../wasm/scalar.js";
export { f32x4, f64x2, i8x16, i16x8, i32x4, i64x2, type V128, v128 } from "../wasm/simd.js";
export { type LaneMath, laneMath } from "../wasm/simd-math.js";
export { transposeFour } from "../wasm/transpose.js";
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
export { decodeBits, encodeBits, lanesOf, literal, valueType } from "../wgsl/dtype.js";
export { type ExpressionCode, expressionCode } from "../wgsl/expression.js";
export { libraryFor, withHardwareHalves } from "../wgsl/functions.js";
export { type JoinLimits, joinSteps, syncWords } from "../wgsl/join-steps.js";
export { type JoinPart, smallUniformBytes } from "../wgsl/joined-memory.js";
export type {
  SubgroupMatrixShape,
  WgslBinding,
  WgslFeatures,
  WgslKernel,
  WgslMemory,
  WgslStep,
} from "../wgsl/kernel.js";
export type { WgslKernelFactory } from "../wgsl/kernel-factory.js";
export { chosenRows } from "../wgsl/kernels/chosen-rows.js";
export { type DenseOperand, denseSource, denseTarget } from "../wgsl/kernels/dense-tiles.js";
export { groupJoin } from "../wgsl/kernels/group-join.js";
export { floatTarget, registerTilingOf, tensorSource } from "../wgsl/kernels/matmul-tiled.js";
export {
  matrixUnitOf,
  type TileSource,
  type Tiling,
  threadsOf,
  tileMemory,
  tileProductStep,
} from "../wgsl/kernels/matrix-tiles.js";
export { keepBestCode, orderCode } from "../wgsl/kernels/order.js";
export {
  type FloatSource,
  floatPlace,
  floatProductStep,
  floatThreads,
  type RegisterTiling,
} from "../wgsl/kernels/register-tiles.js";
export { each, numbered } from "../wgsl/kernels/team.js";
export { lowerWgsl } from "../wgsl/lower.js";
export {
  type ElementLanes,
  elementType,
  type MatrixPlace,
  type MatrixUnit,
  matrixEdge,
  subgroupSize,
} from "../wgsl/matrix-unit.js";
export { widened } from "../wgsl/product/dense.js";
export type {
  FunctionPiece,
  NormPiece,
  NormPieceFactory,
  PieceBuffer,
  PlacementPiece,
  PlacementPieceFactory,
  ProductPiece,
  ProductPieceFactory,
  ProductTask,
  ProductText,
  RotationPiece,
  RotationPieceFactory,
  WgslPieces,
} from "../wgsl/product/piece.js";
export { productWgsl } from "../wgsl/product/single-product.js";
export {
  type BufferUse,
  bufferAt,
  gridOf,
  type StepOptions,
  type StepParam,
  scratchAt,
  waitsHere,
  wgslStep,
} from "../wgsl/step.js";
export { type OffsetCode, offsetCode } from "../wgsl/strides.js";
export { laneOf, vectorLanes, vectorOf } from "../wgsl/vectors.js";
