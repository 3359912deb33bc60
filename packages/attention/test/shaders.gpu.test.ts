import type { TensorType } from "@heddle/tensor";
import type { WgslKernel } from "@heddle/tensor/kernel";
import { expect, test } from "vitest";
import { expectCompiles, findCompiler, largeGpu } from "../../gpu/test/find-compiler.js";
import { cachedAttentionOp } from "../src/cached-attention.js";
import type { CachedAttentionParams } from "../src/cached-params.js";
import { flashAttentionBackward } from "../src/flash.js";
import type { FlashParams } from "../src/flash-params.js";
import { flashMatrixWgsl } from "../src/kernels/flash-matrix.wgsl.js";
import type { MaskRule } from "../src/mask-rule.js";

const { compiler, reason } = await findCompiler();

/** The kernel of attention in f16 for an adapter with everything. */
function kernelOf(
  { length, headDim, valueDim }: { length: number; headDim: number; valueDim: number },
  rules: Partial<FlashParams>,
): WgslKernel | undefined {
  const params: FlashParams = {
    scale: 0.1,
    numMaskInputs: rules.mask?.kind === "documents" ? 1 : 0,
    hasBias: false,
    hasSinks: false,
    ...rules,
  };
  const inputs: TensorType[] = [
    { shape: [2, 4, length, headDim], dtype: "f16" },
    { shape: [2, 2, length, headDim], dtype: "f16" },
    { shape: [2, 2, length, valueDim], dtype: "f16" },
    ...(params.numMaskInputs > 0 ? [{ shape: [2, length], dtype: "i32" } as const] : []),
    ...(params.hasBias ? [{ shape: [1, 4, length, length], dtype: "f32" } as const] : []),
    ...(params.hasDistanceBias ? [{ shape: [4, 2 * length - 1], dtype: "f32" } as const] : []),
    ...(params.hasSinks ? [{ shape: [4], dtype: "f32" } as const] : []),
  ];
  return flashMatrixWgsl({ inputs, params }, largeGpu);
}

const causal: MaskRule = { kind: "band", right: 0 };

if (compiler === undefined) test.skip(`shaders for other adapters: ${reason}`);
else {
  test.each([
    ["64, all keys", { length: 256, headDim: 64, valueDim: 64 }, {}],
    ["64, causal, soft cap", { length: 300, headDim: 64, valueDim: 64 }, { mask: causal, softcap: 30 }],
    [
      "48 and 16, documents",
      { length: 77, headDim: 48, valueDim: 16 },
      { mask: { kind: "documents", input: 0 } },
    ],
    ["64, a bias by distance", { length: 100, headDim: 64, valueDim: 64 }, { hasDistanceBias: true }],
    ["128, bias and sinks", { length: 128, headDim: 128, valueDim: 128 }, { hasBias: true, hasSinks: true }],
  ] as const)("attention on matrix units compiles: head size %s", async (_, sizes, rules) => {
    const kernel = kernelOf(sizes, rules);
    expect(kernel?.steps.at(-1)?.code).toContain("subgroupMatrixMultiplyAccumulate");
    for (const { code } of kernel?.steps ?? []) await expectCompiles(compiler, code);
  });

  test.each(["contiguous", "paged"] as const)("attention over %s caches compiles", async (placement) => {
    const isPaged = placement === "paged";
    const store: TensorType = { shape: isPaged ? [512, 8, 16, 64] : [2, 8, 4096, 64], dtype: "f16" };
    for (const [rows, softcap] of [
      [1, undefined],
      [300, 30],
      [300, undefined],
    ] as const) {
      const params: CachedAttentionParams = {
        placement,
        scale: 0.125,
        softcap,
        isCausal: true,
        inputs: ["query", "key", "value", "slots", "starts", ...(isPaged ? (["table"] as const) : [])],
      };
      const ints = (...shape: number[]): TensorType => ({ shape, dtype: "i32" });
      const inputs: TensorType[] = [
        { shape: [rows, 32, 1, 64], dtype: "f16" },
        store,
        store,
        ints(rows),
        ints(rows),
        ...(isPaged ? [ints(2, 256)] : []),
      ];
      const { spec } = cachedAttentionOp;
      const call = { op: spec, params, inputs, outputs: spec.infer(inputs, params) };
      const steps = spec.kernels?.wgsl?.(call, largeGpu)?.steps ?? [];
      expect(steps.length).toBe(rows === 1 ? 2 : 1);
      const code = steps.map((step) => step.code).join();
      expect(code).toContain(rows === 1 ? "subgroupShuffleXor" : "subgroupMatrixMultiplyAccumulate");
      for (const step of steps) await expectCompiles(compiler, step.code);
    }
  });

  test.each([64, 128, 256])("the gradient of f32 attention compiles: head size %i", async (headDim) => {
    const f32 = (...shape: number[]): TensorType => ({ shape, dtype: "f32" });
    const [query, key, row] = [f32(1, 4, 300, headDim), f32(1, 2, 300, headDim), f32(1, 4, 300)];
    const inputs = [query, key, key, row, row, query];
    const { spec } = flashAttentionBackward;
    const params = {
      scale: 0.125,
      mask: causal,
      numMaskInputs: 0,
      hasBias: false,
      hasSinks: false,
      wantsBias: false,
    };
    const kernel = spec.kernels?.wgsl?.(
      { op: spec, params, inputs, outputs: spec.infer(inputs, params) },
      largeGpu,
    );
    expect(kernel?.steps.length).toBe(2);
    for (const { code } of kernel?.steps ?? []) await expectCompiles(compiler, code);
  });

  test("head sizes that matrices do not divide have no such kernel", () => {
    expect(kernelOf({ length: 64, headDim: 40, valueDim: 40 }, {})).toBeUndefined();
  });
}
