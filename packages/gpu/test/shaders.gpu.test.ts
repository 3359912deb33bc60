import type { OpCall, TensorType } from "@heddle/tensor";
import type { WgslFeatures, WgslKernel } from "@heddle/tensor/kernel";
import { describe, expect, test } from "vitest";
import { matmulOp } from "../../tensor/src/ops/matmul.js";

/** What an H100 offers through Dawn. */
const features: WgslFeatures = {
  f16: true,
  subgroups: { min: 32, max: 32 },
  subgroupMatrices: [{ component: "f16", result: "f32", M: 16, N: 16, K: 16 }],
  maxThreads: 1024,
  maxWorkgroupBytes: 49_152,
  maxBuffers: 16,
};

interface Compiler {
  createShaderModule(of: { code: string }): {
    getCompilationInfo(): Promise<{
      messages: readonly { type: string; message: string; lineNum: number }[];
    }>;
  };
}

/** Dawn's adapter that runs nothing: it compiles for every feature, whatever the machine has. */
async function findCompiler(): Promise<{ compiler?: Compiler; keep?: object; reason?: string }> {
  try {
    const dawn = (await import("webgpu")) as unknown as {
      create(options: string[]): {
        requestAdapter(): Promise<{
          features: Set<string>;
          requestDevice(of: object): Promise<Compiler>;
        } | null>;
      };
    };
    const keep = dawn.create(["backend=null", "enable-dawn-features=allow_unsafe_apis"]);
    const adapter = await keep.requestAdapter();
    if (adapter === null) return { reason: "Dawn has no null backend here" };
    const wanted = ["shader-f16", "subgroups", "chromium-experimental-subgroup-matrix"];
    const missing = wanted.filter((name) => !adapter.features.has(name));
    if (missing.length > 0) return { reason: `its null backend lacks ${missing.join(", ")}` };
    return { compiler: await adapter.requestDevice({ requiredFeatures: wanted }), keep };
  } catch (error) {
    return { reason: error instanceof Error ? error.message : String(error) };
  }
}

const { compiler, keep, reason } = await findCompiler();

/** The kernel of a product for an adapter with everything. */
function kernelOf(
  a: TensorType,
  b: TensorType,
  params: Parameters<typeof matmulOp.spec.infer>[1],
): WgslKernel {
  const call: OpCall<typeof params> = {
    op: matmulOp.spec,
    params,
    inputs: [a, b],
    outputs: matmulOp.spec.infer([a, b], params),
  };
  const kernel = matmulOp.spec.kernels?.wgsl?.(call, features);
  if (kernel === undefined) throw new Error("a product has a kernel");
  return kernel;
}

if (compiler === undefined) test.skip(`shaders for other adapters: ${reason}`);
else {
  describe("products for adapters with matrix units compile", () => {
    test.each([
      [256, 256, 256],
      [100, 200, 72],
      [33, 4, 8],
    ])("%i x %i over %i", async (M, N, K) => {
      for (const transposeA of [false, true]) {
        for (const transposeB of [false, true]) {
          const a: TensorType = { shape: [2, ...(transposeA ? [K, M] : [M, K])], dtype: "f16" };
          const b: TensorType = { shape: transposeB ? [N, K] : [K, N], dtype: "f16" };
          if ((transposeA ? M : K) % 4 !== 0) continue;
          const [step] = kernelOf(a, b, { transposeA, transposeB }).steps;
          expect(step?.code).toContain("subgroupMatrixMultiplyAccumulate");
          await expectCompiles(compiler, step?.code ?? "");
        }
      }
    });

    test("few rows add up by subgroups", async () => {
      for (const dtype of ["f32", "f16", "bf16"] as const) {
        for (const [M, N, K] of [
          [1, 4096, 4096],
          [8, 50_000, 512],
        ] as const) {
          const weight = dtype === "f32" ? "f16" : dtype;
          const [step] = kernelOf(
            { shape: [M, K], dtype },
            { shape: [N, K], dtype: weight },
            { transposeA: false, transposeB: true },
          ).steps;
          expect(step?.code).toContain("subgroupAdd");
          await expectCompiles(compiler, step?.code ?? "");
        }
      }
    });
  });
}

async function expectCompiles(by: Compiler, code: string): Promise<void> {
  const { messages } = await by.createShaderModule({ code }).getCompilationInfo();
  expect(messages.filter(({ type }) => type === "error")).toEqual([]);
  expect(keep).toBeDefined();
}
