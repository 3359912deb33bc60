import { type WebGpuDevice, type WebGpuOptions, webgpu } from "../src/index.js";

/** The adapter of this machine for a test file, or why there is none. */
export type FoundDevice =
  | { readonly device: WebGpuDevice; readonly reason?: undefined }
  | { readonly device?: undefined; readonly reason: string };

/** Makes the device that a test file works on; what it says in `reason` becomes the name of a skipped test. */
export async function findDevice(options: WebGpuOptions = {}): Promise<FoundDevice> {
  try {
    return { device: await webgpu(options) };
  } catch (error) {
    return { reason: error instanceof Error ? error.message : String(error) };
  }
}
