import type { OpCall } from "@heddle/tensor";
import { describe, expect, test } from "vitest";
import { expectCompiles, findCompiler, largeGpu } from "../../gpu/test/find-compiler.js";
import { quantLinearOp } from "../src/ops/quant-linear.js";
import { listParts, partTypes, type QuantLayout } from "../src/quant-format.js";

const { compiler, reason } = await findCompiler();

const layouts: readonly Omit<QuantLayout, "inFeatures" | "outFeatures">[] = [
  { codeBits: 4, offset: 8, groupSize: 32, scaleDType: "f16", hasMin: false },
  { codeBits: 4, offset: 0, groupSize: 128, scaleDType: "f32", hasMin: true },
  { codeBits: 4, offset: 0, groupSize: 32, scaleDType: "u8", hasMin: true },
  { codeBits: 6, offset: 32, groupSize: 16, scaleDType: "i8", hasMin: false },
  { codeBits: 8, offset: 0, groupSize: 32, scaleDType: "f16", hasMin: false },
  { codeBits: 8, offset: 0, groupSize: 16, scaleDType: "f32", hasMin: true },
];

if (compiler === undefined) test.skip(`shaders for other adapters: ${reason}`);
else {
  describe("codes are widened on their way to matrix units", () => {
    test.each(layouts)("$codeBits bits, groups of $groupSize, $scaleDType", async (format) => {
      const layout: QuantLayout = { ...format, inFeatures: 512, outFeatures: 70 };
      const parts = listParts(partTypes(layout));
      for (const dtype of ["f32", "f16"] as const) {
        for (const rows of [40, 60, 300]) {
          const inputs = [{ shape: [rows, 512], dtype }, ...parts];
          const outputs = quantLinearOp.spec.infer(inputs, layout);
          const call: OpCall<QuantLayout> = { op: quantLinearOp.spec, params: layout, inputs, outputs };
          const kernel = quantLinearOp.spec.kernels?.wgsl?.(call, largeGpu);
          const code = kernel?.steps.at(-1)?.code ?? "";
          expect(code).toContain("subgroupMatrixMultiplyAccumulate");
          await expectCompiles(compiler, code);
        }
      }
    });
  });
}
