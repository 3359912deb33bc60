import { type NativeBuffer, usage } from "../../../../packages/gpu/src/native.ts";
import { wantedLimits } from "../../../../packages/gpu/src/webgpu.ts";

interface Range {
  readonly binding: number;
  readonly resource: { readonly buffer: object; readonly offset?: number; readonly size?: number };
}

interface Native {
  createBuffer(of: { size: number; usage: number }): object;
  createShaderModule(of: { code: string; label?: string }): object;
  createBindGroup(of: { layout: object; entries: readonly Range[] }): object;
  queue: { writeBuffer(...of: readonly unknown[]): void };
}

interface Adapter {
  readonly features: { has(name: string): boolean };
  readonly limits: Readonly<Record<string, number>>;
  readonly info: object;
  requestDevice(descriptor: { requiredLimits?: Record<string, number> }): Promise<object>;
}

/** Bytes that a large buffer really takes. */
const keptBytes = 65_536;

/**
 * An adapter of Dawn's null backend with the limits of a large card, whose buffers take next to no memory: for programs that measure
 * calls. What is written behind the kept bytes is dropped; programs are replaced by empty ones, since the backend refuses those that need a
 * large card's workgroup memory; subgroups are of 32 threads.
 */
export function withoutMemory(of: object): object {
  const adapter = of as Adapter;
  const limits = {
    maxBufferSize: 2 ** 32,
    maxStorageBufferBindingSize: 2 ** 32 - 4,
    maxStorageBuffersPerShaderStage: 16,
    maxComputeWorkgroupStorageSize: 49_152,
    maxComputeInvocationsPerWorkgroup: 1024,
  };
  const info = { subgroupMinSize: 32, subgroupMaxSize: 32, vendor: "none", description: "null backend" };
  const own = Object.fromEntries(limitNames.map((name) => [name, adapter.limits[name] ?? 0]));
  return {
    features: {
      has: (name: string) => name !== "chromium-experimental-subgroup-matrix" && adapter.features.has(name),
    },
    limits: { ...own, ...limits },
    info,
    async requestDevice(descriptor: object) {
      const device = await adapter.requestDevice({ ...descriptor, requiredLimits: own });
      return shrunken(device, { ...own, ...limits });
    },
  };
}

const limitNames = [...wantedLimits, "minStorageBufferOffsetAlignment"];

/** Nothing ran: what lies in the memory would be no results. */
function readsZeros(buffer: NativeBuffer): void {
  const getMappedRange = buffer.getMappedRange.bind(buffer);
  Object.defineProperty(buffer, "getMappedRange", {
    value: (offset?: number, size?: number) => {
      const range = getMappedRange(offset, size);
      new Uint8Array(range).fill(0);
      return range;
    },
  });
}

function shrunken(device: object, limits: object): object {
  const native = device as Native;
  const createBuffer = native.createBuffer.bind(native);
  const createBindGroup = native.createBindGroup.bind(native);
  const createShaderModule = native.createShaderModule.bind(native);
  let programs = 0;
  const { queue } = native;
  const writeBuffer = queue.writeBuffer.bind(queue);
  Object.defineProperties(native, {
    limits: { value: limits },
    createBuffer: {
      value: (of: { size: number; usage: number }) => {
        const buffer = createBuffer({ ...of, size: Math.min(of.size, keptBytes) });
        if ((of.usage & usage.mapRead) !== 0) readsZeros(buffer as NativeBuffer);
        return buffer;
      },
    },
    createShaderModule: {
      // Numbered, so that no two are one program.
      value: ({ label = "" }: { label?: string }) =>
        createShaderModule({
          label,
          code: `const number = ${programs++}u;\n@compute @workgroup_size(1) fn main() {}`,
        }),
    },
    createBindGroup: {
      value: (of: { layout: object; entries: readonly Range[] }) =>
        createBindGroup({
          ...of,
          entries: of.entries.map(({ binding, resource: { buffer, offset = 0, size } }) => ({
            binding,
            resource: size === undefined || size > keptBytes ? { buffer, offset } : { buffer, offset, size },
          })),
        }),
    },
  });
  Object.defineProperty(queue, "writeBuffer", {
    value: (buffer: object, at: number, data: ArrayBuffer, from: number, bytes: number) => {
      if (at + bytes <= keptBytes) writeBuffer(buffer, at, data, from, bytes);
    },
  });
  return native;
}
