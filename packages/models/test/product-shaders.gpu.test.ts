import { partTypes, type QuantFormat } from "@heddle/quant";
import type { TensorType } from "@heddle/tensor";
import type { WgslFeatures } from "@heddle/tensor/kernel";
import { describe, expect, test } from "vitest";
import { expectCompiles, findCompiler, largeGpu } from "../../gpu/test/find-compiler.js";
import { quantLinearOp } from "../../quant/src/ops/quant-linear.js";
import type { GroupMember, ProductGroup } from "../../tensor/src/compile/product-group.js";
import type { OpSpec } from "../../tensor/src/op.js";
import { matmulOp } from "../../tensor/src/ops/matmul.js";
import { layerNormOp, rmsNormOp } from "../../tensor/src/ops/norm.js";
import { groupWgsl } from "../../tensor/src/wgsl/product/group-step.js";

/** Joined products need no matrix units. */
const features: WgslFeatures = { ...largeGpu, subgroupMatrices: [] };

const { compiler, reason } = await findCompiler();

const formats: Readonly<Record<string, QuantFormat>> = {
  "4 bits around 8": { codeBits: 4, offset: 8, groupSize: 32, scaleDType: "f16", hasMin: false },
  "4 bits, nested scales and minima": {
    codeBits: 4,
    offset: 0,
    groupSize: 32,
    scaleDType: "u8",
    hasMin: true,
  },
  "6 bits, nested scales": { codeBits: 6, offset: 32, groupSize: 16, scaleDType: "i8", hasMin: false },
  "8 bits": { codeBits: 8, offset: 0, groupSize: 32, scaleDType: "f16", hasMin: false },
};

/** Two products of one x whose results are multiplied, behind a norm. */
function gatedGroup(kind: string, norm: "none" | "rms" | "layer", rows: number) {
  const [K, N] = [2048, 8192];
  const dtype = kind === "f16" ? "f16" : "f32";
  const x: TensorType = { shape: [rows, K], dtype };
  const out: TensorType = { shape: [rows, N], dtype };
  const vector: TensorType = { shape: [K], dtype };
  const format = formats[kind];
  const layout = format && { ...format, inFeatures: K, outFeatures: N };
  const parts: TensorType[] = layout ? Object.values(partTypes(layout)) : [{ shape: [N, K], dtype }];
  const inputs: TensorType[] = [x, vector, vector];
  const product = (): GroupMember => {
    const at = inputs.length;
    inputs.push(...parts);
    return {
      spec: (layout ? quantLinearOp.spec : matmulOp.spec) as OpSpec,
      params: layout ?? { transposeA: false, transposeB: true },
      types: [x, ...parts],
      output: out,
      inputs: [0, ...parts.map((_, i) => at + i)],
    };
  };
  const norms: Readonly<Record<string, GroupMember | undefined>> = {
    rms: {
      spec: rmsNormOp.spec as OpSpec,
      params: { eps: 1e-5, offset: 0 },
      types: [x, vector],
      output: x,
      inputs: [0, 1],
    },
    layer: {
      spec: layerNormOp.spec as OpSpec,
      params: { eps: 1e-5, hasWeight: true, hasBias: true },
      types: [x, vector, vector],
      output: x,
      inputs: [0, 1, 2],
    },
  };
  const before = norms[norm];
  const group: ProductGroup = {
    ...(before && { norm: before }),
    parts: [
      {
        products: [product(), product()],
        expression: {
          expression: {
            nodes: [
              { op: "input", index: 0, dtype },
              { op: "input", index: 1, dtype },
              { op: "mul", args: [0, 1], dtype },
            ],
            outputs: [2],
          },
          inputs: [
            { kind: "product", index: 0 },
            { kind: "product", index: 1 },
          ],
        },
        targets: [{ kind: "output", index: 0, type: out }],
      },
    ],
  };
  return groupWgsl({ group, inputs, outputs: [out] }, features);
}

if (compiler === undefined) test.skip(`joined products for other adapters: ${reason}`);
else {
  describe.each(["f16", "f32", ...Object.keys(formats)])("joined products of %s compile", (kind) => {
    test.each(["none", "rms", "layer"] as const)("behind norm %s", async (norm) => {
      for (const rows of [1, 4]) {
        const kernel = gatedGroup(kind, norm, rows);
        expect(kernel?.steps.length).toBe(1);
        for (const { code } of kernel?.steps ?? []) await expectCompiles(compiler, code);
      }
    });
  });
}
