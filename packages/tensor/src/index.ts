export { type Compiled, compile, type PlanReport } from "./compile/compile.js";
export { type CpuDevice, type CpuOptions, cpu } from "./cpu/device.js";
export {
  arange,
  fromBytes,
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
export { byteWidth, type DType, dtypes, type FloatDType, isFloat } from "./dtype.js";
export { HeddleError, type HeddleErrorCode, invariant } from "./error.js";
export type { Expression, ExpressionNode, ScalarOp } from "./expression.js";
export {
  add,
  concat,
  cumsum,
  div,
  embedding,
  equal,
  expandDims,
  gather,
  greater,
  greaterEqual,
  less,
  lessEqual,
  logsumexp,
  maximum,
  minimum,
  mul,
  notEqual,
  oneHot,
  pad,
  pow,
  type Ranked,
  scatterAdd,
  sort,
  split,
  squeeze,
  stack,
  sub,
  take,
  topK,
  tril,
  triu,
  where,
} from "./functions.js";
export { checkpoint } from "./grad/checkpoint.js";
export { type ValueAndGrad, type ValueGradAndAux, valueAndGrad } from "./grad/value-and-grad.js";
export {
  type Combine,
  type Copies,
  type CopyRegion,
  defineOp,
  type Op,
  type OpSpec,
  type Reduction,
  type VjpContext,
} from "./op.js";
export { type GeluOptions, gelu, relu, silu, swiGLU } from "./ops/activation.js";
export type { TensorOrNumber } from "./ops/elementwise.js";
export { fillLike } from "./ops/fill.js";
export { writeInto } from "./ops/indexing.js";
export { type LinearWeight, linear } from "./ops/linear.js";
export { type CrossEntropyOptions, crossEntropy } from "./ops/loss.js";
export { type MatmulOptions, matmul } from "./ops/matmul.js";
export { type LayerNormOptions, layerNorm, rmsNorm } from "./ops/norm.js";
export { dropout, foldIn, splitKey } from "./ops/random.js";
export type { ReduceOptions } from "./ops/reduce.js";
export { type AxisOption, logSoftmax, softmax } from "./ops/softmax.js";
export { philox } from "./philox.js";
export { reference } from "./reference/device.js";
export type { HostArray, HostData } from "./reference/host-array.js";
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
