import { HeddleError } from "@heddle/tensor";
import type { SubgroupMatrixShape, WgslFeatures } from "@heddle/tensor/kernel";
import { createDevice, type WebGpuDevice } from "./device.js";
import type { NativeAdapter, NativeAdapterInfo, NativeDevice, NativeGpu } from "./native.js";

export interface WebGpuOptions {
  /** A GPUDevice to work on. It is never destroyed; errors and loss are observed by events. */
  readonly device?: object;
  /** A GPUAdapter to make the device from. */
  readonly adapter?: object;
  /** Which adapter to ask for where there are several. Default: the system's choice. */
  readonly powerPreference?: "low-power" | "high-performance";
  /**
   * Node only: Dawn's toggles. Default: none. `dawnToggles.half` makes f16 and subgroup matrices available on NVIDIA;
   * `dawnToggles.fast` also leaves out bounds checks and the clearing of workgroup memory, which Heddle's kernels do not need.
   */
  readonly toggles?: DawnToggles;
  /** Freed bytes that are kept for reuse at most; default 1 GiB. */
  readonly maxIdleBytes?: number;
  /**
   * Makes fewer dispatches of a decoding step, 34 of 85: half the JavaScript of a token, for a tenth to a quarter of the GPU's speed. Workgroups
   * of a dispatch wait for others that have begun: needs a GPU on which what has begun goes on, which WebGPU does not promise (NVIDIA's do).
   * Default false.
   */
  readonly joinsSteps?: boolean;
}

export interface DawnToggles {
  readonly enable?: readonly string[];
  readonly disable?: readonly string[];
}

/** Sets of toggles for `webgpu({ toggles })` in Node. */
export const dawnToggles = {
  half: { enable: ["allow_unsafe_apis", "vulkan_enable_f16_on_nvidia"] },
  fast: {
    enable: [
      "allow_unsafe_apis",
      "vulkan_enable_f16_on_nvidia",
      "disable_robustness",
      "disable_workgroup_init",
      "skip_validation",
    ],
  },
} as const satisfies Readonly<Record<string, DawnToggles>>;

const knownOptions = ["device", "adapter", "powerPreference", "toggles", "maxIdleBytes", "joinsSteps"];
const wantedFeatures = [
  "shader-f16",
  "subgroups",
  "timestamp-query",
  "chromium-experimental-subgroup-matrix",
] as const;
/** Limits that the device is asked for as the adapter has them. */
export const wantedLimits = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxStorageBuffersPerShaderStage",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
  "maxComputeWorkgroupSizeY",
  "maxComputeWorkgroupSizeZ",
  "maxComputeWorkgroupsPerDimension",
] as const;

/**
 * The GPU, through WebGPU: `navigator.gpu` in pages and workers, Dawn (the npm package `webgpu`, to be installed beside this
 * one) in Node.
 *
 * Everything that the adapter offers and Heddle can use is asked for: half-precision arithmetic, subgroups, its limits.
 * @throws HeddleError "unsupported" where there is no WebGPU or no adapter, "config" for an unknown option, "device" if the
 * adapter refuses
 */
export async function webgpu(options: WebGpuOptions = {}): Promise<WebGpuDevice> {
  const unknown = Object.keys(options).find((name) => !knownOptions.includes(name));
  if (unknown !== undefined) {
    throw new HeddleError(
      "config",
      `webgpu: options are ${knownOptions.join(", ")}; got ${unknown}. Remove it or mend its spelling.`,
      { option: unknown },
    );
  }
  const { maxIdleBytes = 2 ** 30, joinsSteps } = options;
  if (options.device !== undefined) {
    return around(options.device as NativeDevice, {
      adapter: undefined,
      isOwned: false,
      maxIdleBytes,
      joinsSteps,
    });
  }
  const gpu = options.adapter === undefined ? await findGpu(options.toggles) : undefined;
  const adapter = (options.adapter ?? (await requestAdapter(gpu, options))) as NativeAdapter;
  const native = await requestDevice(adapter);
  return around(native, { adapter, isOwned: true, maxIdleBytes, joinsSteps });
}

/** Dawn by its toggles: an instance that is collected while a lost device of it still answers ends the process. */
const instances = new Map<string, NativeGpu>();

async function findGpu(toggles: DawnToggles | undefined): Promise<NativeGpu> {
  const { navigator } = globalThis as { navigator?: { gpu?: NativeGpu } };
  if (navigator?.gpu !== undefined && toggles === undefined) return navigator.gpu;
  // Put together at run time, so that bundlers for browsers do not look for the package.
  const name = ["web", "gpu"].join("");
  let dawn: { create(options: string[]): NativeGpu };
  try {
    dawn = await import(/* @vite-ignore */ /* webpackIgnore: true */ name);
  } catch (cause) {
    throw new HeddleError(
      "unsupported",
      `webgpu: a browser with WebGPU, or in Node the package "webgpu", is needed; got neither (${cause instanceof Error ? cause.message.split("\n")[0] : cause}). Install it with \`npm i webgpu\`, or use cpu().`,
      {},
      cause,
    );
  }
  const list = (key: string, names: readonly string[] = []) =>
    names.length === 0 ? [] : [`${key}-dawn-features=${names.join(",")}`];
  const options = [...list("enable", toggles?.enable), ...list("disable", toggles?.disable)];
  const key = options.join(" ");
  const instance = instances.get(key) ?? dawn.create(options);
  instances.set(key, instance);
  return instance;
}

async function requestAdapter(
  gpu: NativeGpu | undefined,
  { powerPreference }: WebGpuOptions,
): Promise<NativeAdapter> {
  const adapter = await gpu?.requestAdapter(powerPreference === undefined ? {} : { powerPreference });
  if (adapter) return adapter as NativeAdapter;
  throw new HeddleError(
    "unsupported",
    "webgpu: a GPU adapter is needed; got none. Install a driver with Vulkan, Metal or Direct3D 12, or use cpu().",
  );
}

async function requestDevice(adapter: NativeAdapter): Promise<NativeDevice> {
  const limits = adapter.limits as Readonly<Record<string, number | undefined>>;
  const requiredLimits = Object.fromEntries(
    wantedLimits.flatMap((name) => (limits[name] === undefined ? [] : [[name, limits[name]]])),
  );
  const requiredFeatures = wantedFeatures.filter((name) => adapter.features.has(name));
  try {
    return (await adapter.requestDevice({ requiredFeatures, requiredLimits })) as NativeDevice;
  } catch (cause) {
    throw new HeddleError(
      "device",
      `webgpu: the adapter must give a device; got ${cause instanceof Error ? cause.message : cause}. Close programs that use the GPU, or pass a device of your own.`,
      {},
      cause,
    );
  }
}

interface Origin {
  readonly adapter: NativeAdapter | undefined;
  readonly isOwned: boolean;
  readonly maxIdleBytes: number;
  readonly joinsSteps: boolean | undefined;
}

function around(native: NativeDevice, { adapter, isOwned, maxIdleBytes, joinsSteps }: Origin): WebGpuDevice {
  const limits = native.limits as Readonly<Record<string, number>>;
  const limit = (name: string, floor: number) => limits[name] ?? floor;
  const info = (adapter?.info ?? (native as { adapterInfo?: object }).adapterInfo ?? {}) as AdapterInfo;
  const maxBuffers = limit("maxStorageBuffersPerShaderStage", 8);
  const isJoining = joinsSteps ?? false;
  const features: WgslFeatures = {
    f16: native.features.has("shader-f16"),
    subgroups: native.features.has("subgroups")
      ? { min: info.subgroupMinSize ?? 4, max: info.subgroupMaxSize ?? 128 }
      : undefined,
    subgroupMatrices: native.features.has("chromium-experimental-subgroup-matrix") ? matricesOf(info) : [],
    maxThreads: limit("maxComputeInvocationsPerWorkgroup", 256),
    maxWorkgroupBytes: limit("maxComputeWorkgroupStorageSize", 16384),
    maxBuffers,
    ...(isJoining ? { joinThreads: 256 } : {}),
  };
  const { vendor = "", architecture = "", device = "", description = "" } = info;
  // Size classes round up: the largest that is still within the limit.
  const bound = Math.min(limit("maxBufferSize", 2 ** 28), limit("maxStorageBufferBindingSize", 2 ** 27));
  return createDevice({
    native,
    features,
    adapter: { vendor, architecture, device, description },
    limits: { maxBufferBytes: Math.floor(bound / 16) * 16, threads: 1, maxLaunchBuffers: maxBuffers },
    offsetAlignment: limit("minStorageBufferOffsetAlignment", 256),
    isOwned,
    maxIdleBytes,
    joinsSteps: isJoining,
  });
}

interface AdapterInfo extends Partial<NativeAdapterInfo> {
  readonly subgroupMinSize?: number;
  readonly subgroupMaxSize?: number;
  readonly subgroupMatrixConfigs?: readonly {
    readonly componentType: string;
    readonly resultComponentType: string;
    readonly M: number;
    readonly N: number;
    readonly K: number;
  }[];
}

function matricesOf({ subgroupMatrixConfigs = [] }: AdapterInfo): SubgroupMatrixShape[] {
  return [...subgroupMatrixConfigs].map(({ componentType, resultComponentType, M, N, K }) => ({
    component: componentType as SubgroupMatrixShape["component"],
    result: resultComponentType as SubgroupMatrixShape["result"],
    M,
    N,
    K,
  }));
}
