export type { WebGpuDevice } from "./device.js";
export {
  type DefinedKernel,
  defineKernel,
  type KernelContext,
  type KernelGradient,
  type KernelOptions,
} from "./gpu-js/define-kernel.js";
export type { GpuJsModule } from "./gpu-js/module.js";
export type { NativeAdapterInfo, NativeBuffer, NativeDevice } from "./native.js";
export { fromBuffer, toBuffer } from "./share-buffers.js";
export { type DawnToggles, dawnToggles, type WebGpuOptions, webgpu } from "./webgpu.js";
