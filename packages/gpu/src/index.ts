export type { WebGpuDevice } from "./device.js";
export type { NativeAdapterInfo, NativeBuffer, NativeDevice } from "./native.js";
export { fromBuffer, toBuffer } from "./share-buffers.js";
export { type DawnToggles, dawnToggles, type WebGpuOptions, webgpu } from "./webgpu.js";
