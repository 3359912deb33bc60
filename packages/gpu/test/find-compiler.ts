import type { WgslFeatures } from "@heddle/tensor/kernel";
import { expect } from "vitest";
import { nullAdapter } from "./null-adapter.js";

/** What an H100 offers through Dawn. */
export const largeGpu: WgslFeatures = {
  f16: true,
  subgroups: { min: 32, max: 32 },
  subgroupMatrices: [{ component: "f16", result: "f32", M: 16, N: 16, K: 16 }],
  maxThreads: 1024,
  maxWorkgroupBytes: 49_152,
  maxBuffers: 16,
};

export interface Compiler {
  readonly keep: object;
  createShaderModule(of: { code: string }): {
    getCompilationInfo(): Promise<{
      messages: readonly { type: string; message: string; lineNum: number }[];
    }>;
  };
}

/** A device of Dawn's adapter that runs nothing: it compiles for every feature, whatever the machine has. */
export async function findCompiler(): Promise<{ compiler?: Compiler; reason?: string }> {
  const { adapter, keep, reason } = await nullAdapter<Omit<Compiler, "keep">>();
  if (adapter === undefined) return { reason };
  const wanted = ["shader-f16", "subgroups", "chromium-experimental-subgroup-matrix"];
  const missing = wanted.filter((name) => !adapter.features.has(name));
  if (missing.length > 0) return { reason: `its null backend lacks ${missing.join(", ")}` };
  const device = await adapter.requestDevice({ requiredFeatures: wanted });
  return { compiler: { keep, createShaderModule: (of) => device.createShaderModule(of) } };
}

/** Fails where Dawn finds an error in a text. */
export async function expectCompiles(by: Compiler, code: string): Promise<void> {
  const { messages } = await by.createShaderModule({ code }).getCompilationInfo();
  expect(messages.filter(({ type }) => type === "error")).toEqual([]);
}
