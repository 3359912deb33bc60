import { type WebGpuDevice, type WebGpuOptions, webgpu } from "../src/index.js";

/** The adapter of this machine for a test file, or why there is none. */
export type FoundDevice =
  | { readonly device: WebGpuDevice; readonly reason?: undefined }
  | { readonly device?: undefined; readonly reason: string };

/**
 * Makes a device for tests, or throws why there is none. Its workgroup memory is not cleared: no kernel counts on that, and
 * software adapters, which compile stores for every element, are done in half the time or less.
 */
export function testDevice({ toggles, ...options }: WebGpuOptions = {}): Promise<WebGpuDevice> {
  const enable = [...(toggles?.enable ?? []), "disable_workgroup_init"];
  return webgpu({ ...options, toggles: { ...toggles, enable } });
}

/** Finds the device that a test file works on; what it says in `reason` becomes the name of a skipped test. */
export async function findDevice(options: WebGpuOptions = {}): Promise<FoundDevice> {
  try {
    return { device: await testDevice(options) };
  } catch (error) {
    return { reason: error instanceof Error ? error.message : String(error) };
  }
}
