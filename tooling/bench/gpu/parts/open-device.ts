import { dawnToggles, type WebGpuDevice, webgpu } from "@heddle/gpu";

/** Opens this machine's GPU with the set of Dawn's toggles that the words of a program name: `fast`, `half` or none; `joined` joins steps. */
export function openDevice(words: readonly string[]): Promise<WebGpuDevice> {
  const options = { joinsSteps: words.includes("joined") };
  if (words.includes("fast")) return webgpu({ ...options, toggles: dawnToggles.fast });
  return webgpu(words.includes("half") ? { ...options, toggles: dawnToggles.half } : options);
}

/** What figures belong to: the adapter and, of its abilities, those that kernels are chosen by. */
export function describeDevice({ adapter, features }: WebGpuDevice): string {
  return `${adapter.vendor} ${adapter.description} ${JSON.stringify(features)}`;
}
