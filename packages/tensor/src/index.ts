export {
  type BoundRun,
  type Compiled,
  compile,
  type LaunchTime,
  type PlanReport,
} from "./compile/compile.js";
export { type CpuDevice, type CpuOptions, cpu } from "./cpu/device.js";
export {
  arange,
  fromBytes,
  fromDeviceBuffer,
  full,
  type NestedNumbers,
  ones,
  type RandomOptions,
  rand,
  randn,
  randomKey,
  type TensorOptions,
  tensor,
  zeros,
} from "./create.js";
export type {
  BufferRef,
  Device,
  DeviceBuffer,
  DeviceKind,
  DeviceLimits,
  Kernel,
  MemoryReport,
  OpCall,
  Plan,
  Program,
} from "./device.js";
export {
  byteWidth,
  type DType,
  dtypes,
  type FloatDType,
  f16ToNumber,
  isFloat,
  isHalf,
  numberToF16,
} from "./dtype.js";
export { HeddleError, type HeddleErrorCode, invariant } from "./error.js";
export type { Expression, ExpressionNode, ScalarOp } from "./expression.js";
export {
  abs,
  add,
  argmax,
  argmin,
  broadcastTo,
  cast,
  clamp,
  cos,
  div,
  embedding,
  equal,
  erf,
  exp,
  floor,
  greater,
  greaterEqual,
  less,
  lessEqual,
  log,
  logicalAnd,
  logicalNot,
  logicalOr,
  max,
  maximum,
  mean,
  min,
  minimum,
  mul,
  narrow,
  neg,
  notEqual,
  oneHot,
  pow,
  prod,
  reciprocal,
  reshape,
  rsqrt,
  sigmoid,
  sign,
  sin,
  slice,
  sqrt,
  square,
  sub,
  sum,
  tanh,
  transpose,
  tril,
  triu,
  where,
} from "./functions.js";
export { type GgmlType, ggmlTypeInfo, ggmlTypeOf, ggmlTypes } from "./ggml-type.js";
export { checkpoint } from "./grad/checkpoint.js";
export { type ValueAndGrad, type ValueGradAndAux, valueAndGrad } from "./grad/value-and-grad.js";
export { nextTurn } from "./next-turn.js";
export { defineOp, type Op, type OpSpec, type VjpContext } from "./op.js";
export type { Combine, Copies, CopyRegion, Reduction } from "./op-forms.js";
export { cumsum, logsumexp } from "./ops/accumulate.js";
export { type GeluOptions, gelu, relu, silu, swiGLU } from "./ops/activation.js";
export type { TensorOrNumber } from "./ops/elementwise.js";
export { fillLike } from "./ops/fill.js";
export { writeInto } from "./ops/indexing.js";
export { concat, expandDims, pad, split, squeeze, stack } from "./ops/join.js";
export { type EmbeddingTable, type LinearWeight, linear, type StackedWeight } from "./ops/linear.js";
export { type CrossEntropyOptions, crossEntropy } from "./ops/loss.js";
export { type MatmulOptions, matmul } from "./ops/matmul.js";
export { type LayerNormOptions, layerNorm, rmsNorm } from "./ops/norm.js";
export { dropout, foldIn, splitKey } from "./ops/random.js";
export type { ReduceOptions } from "./ops/reduce.js";
export { gather, type Ranked, scatterAdd, sort, take, topK } from "./ops/select.js";
export { type AxisOption, logSoftmax, softmax } from "./ops/softmax.js";
export { philox } from "./philox.js";
export { reference } from "./reference/device.js";
export type { HostArray, HostData } from "./reference/host-array.js";
export { RowPieces } from "./row-pieces.js";
export { scope } from "./scope.js";
export { type Shape, sizeOf, type TensorType } from "./shape.js";
export { Tensor } from "./tensor.js";
export {
  disposeTree,
  type FlatTree,
  flattenTree,
  mapTree,
  type Tree,
  type TreeNode,
  treeNode,
} from "./tree.js";
export { type BackendCheck, verifyBackend } from "./verify-backend.js";
