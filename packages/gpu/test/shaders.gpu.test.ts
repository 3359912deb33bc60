import type { OpCall, TensorType } from "@heddle/tensor";
import type { WgslKernel } from "@heddle/tensor/kernel";
import { describe, expect, test } from "vitest";
import { matmulOp } from "../../tensor/src/ops/matmul.js";
import { expectCompiles, findCompiler, largeGpu } from "./find-compiler.js";

const { compiler, reason } = await findCompiler();

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
  const kernel = matmulOp.spec.kernels?.wgsl?.(call, largeGpu);
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

    test("some rows of half-precision weights, without a product for few rows", async () => {
      for (const [M, N, K] of [
        [9, 2048, 2048],
        [32, 8192, 130],
        [33, 18, 64],
        [64, 50_000, 128],
      ] as const) {
        const [step] = kernelOf(
          { shape: [M, K], dtype: "f16" },
          { shape: [N, K], dtype: "f16" },
          { transposeA: false, transposeB: true },
        ).steps;
        expect(step?.code).toContain("subgroupMatrixMultiplyAccumulate");
        await expectCompiles(compiler, step?.code ?? "");
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
