import { availableParallelism, cpus, freemem, totalmem } from "node:os";
import { webgpu } from "@heddle/gpu";
import { type CpuDevice, cpu } from "@heddle/tensor";
import type { Command } from "commander";
import { readVersion } from "../options.js";
import type { Terminal } from "../terminal.js";

/** What this machine offers to Heddle. */
interface Diagnosis {
  readonly heddle: string;
  readonly node: string;
  readonly platform: string;
  readonly processor: string;
  readonly cores: number;
  readonly memory: { readonly totalBytes: number; readonly freeBytes: number };
  readonly cpuDevice:
    | {
        readonly simd: string;
        readonly relaxedSimd: boolean;
        readonly revectorized: boolean;
        readonly int8Dot: boolean;
        readonly sharedMemory: boolean;
        readonly threads: number;
      }
    | { readonly error: string };
  readonly webgpuDevice:
    | {
        readonly adapter: string;
        readonly maxTensorBytes: number;
        readonly f16: boolean;
        readonly subgroups: boolean;
        readonly subgroupMatrices: boolean;
      }
    | { readonly error: string };
}

export function addDoctor(program: Command, terminal: Terminal): void {
  program
    .command("doctor")
    .description("Tell what this machine offers: processor, memory, SIMD level, threads.")
    .option("--json", "print results as JSON")
    .action(async ({ json }: { readonly json?: boolean }) => {
      const diagnosis = await examine();
      await terminal.print(json ? `${JSON.stringify(diagnosis)}\n` : describe(diagnosis));
    });
}

async function examine(): Promise<Diagnosis> {
  return {
    heddle: readVersion(),
    node: process.version,
    platform: `${process.platform} ${process.arch}`,
    processor: cpus()[0]?.model.trim() ?? "unknown",
    cores: availableParallelism(),
    memory: { totalBytes: totalmem(), freeBytes: freemem() },
    cpuDevice: examineCpu(),
    webgpuDevice: await examineWebGpu(),
  };
}

function examineCpu(): Diagnosis["cpuDevice"] {
  let device: CpuDevice | undefined;
  try {
    device = cpu();
    const { relaxedSimd, revectorized, int8Dot, sharedMemory } = device.features;
    const simd = revectorized ? "256-bit (128-bit WebAssembly SIMD, joined by the engine)" : "128-bit";
    return { simd, relaxedSimd, revectorized, int8Dot, sharedMemory, threads: device.limits.threads };
  } catch (error) {
    return { error: error instanceof Error ? error.message : String(error) };
  } finally {
    device?.dispose();
  }
}

async function examineWebGpu(): Promise<Diagnosis["webgpuDevice"]> {
  try {
    const device = await webgpu();
    const { f16, subgroups, subgroupMatrices } = device.features;
    const { vendor, architecture, description } = device.adapter;
    const found = {
      adapter: [vendor, architecture, description].filter((part) => part !== "").join(", "),
      maxTensorBytes: device.limits.maxBufferBytes,
      f16,
      subgroups: subgroups !== undefined,
      subgroupMatrices: subgroupMatrices.length > 0,
    };
    device.dispose();
    return found;
  } catch (error) {
    return { error: error instanceof Error ? error.message : String(error) };
  }
}

function describe(found: Diagnosis): string {
  const yes = (value: boolean) => (value ? "yes" : "no");
  const gib = (bytes: number) => `${(bytes / 2 ** 30).toFixed(1)} GiB`;
  const device = found.cpuDevice;
  const gpu = found.webgpuDevice;
  const rows: [string, string][] = [
    ["heddle", found.heddle],
    ["Node", `${found.node} on ${found.platform}`],
    ["processor", `${found.processor}, ${found.cores} cores for this process`],
    ["memory", `${gib(found.memory.totalBytes)}, ${gib(found.memory.freeBytes)} free`],
    ...("error" in device
      ? ([["cpu device", `unusable: ${device.error}`]] satisfies [string, string][])
      : ([
          ["SIMD", device.simd],
          ["relaxed SIMD", yes(device.relaxedSimd)],
          ["revectorisation", yes(device.revectorized)],
          ["int8 dot product", yes(device.int8Dot)],
          ["shared memory", yes(device.sharedMemory)],
          ["threads", String(device.threads)],
        ] satisfies [string, string][])),
    ...("error" in gpu
      ? ([["webgpu device", `unusable: ${gpu.error}`]] satisfies [string, string][])
      : ([
          ["webgpu device", gpu.adapter],
          ["largest tensor", gib(gpu.maxTensorBytes)],
          ["f16 arithmetic", yes(gpu.f16)],
          ["subgroups", yes(gpu.subgroups)],
          ["their matrices", yes(gpu.subgroupMatrices)],
        ] satisfies [string, string][])),
  ];
  const width = Math.max(...rows.map(([name]) => name.length)) + 2;
  return rows.map(([name, value]) => `${`${name}:`.padEnd(width)}${value}\n`).join("");
}
