import { ropeFrequencies } from "@heddle/positional-encodings";
import { partTypes, type QuantFormat } from "@heddle/quant";
import type { TensorType } from "@heddle/tensor";
import type { WgslFeatures } from "@heddle/tensor/kernel";
import { describe, expect, test } from "vitest";
import { expectCompiles, findCompiler, largeGpu } from "../../gpu/test/find-compiler.js";
import { rotaryPiece } from "../../positional-encodings/src/kernels/rotary.wgsl.js";
import { quantLinearOp } from "../../quant/src/ops/quant-linear.js";
import type { GroupMember, ProductGroup, ProductPart } from "../../tensor/src/compile/product-group.js";
import type { OpSpec } from "../../tensor/src/op.js";
import { matmulOp } from "../../tensor/src/ops/matmul.js";
import { layerNormOp, rmsNormOp } from "../../tensor/src/ops/norm.js";
import { withHardwareHalves } from "../../tensor/src/wgsl/functions.js";
import { groupWgsl } from "../../tensor/src/wgsl/product/group-step.js";
import { tileGroupWgsl } from "../../tensor/src/wgsl/product/tile-group.js";

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

/** Two products of one x whose results are multiplied, behind a norm; of many rows in f16 on matrix units. */
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
  const call = { group, inputs, outputs: [out] };
  return rows > 8 ? tileGroupWgsl(call, largeGpu) : groupWgsl(call, features);
}

/** Query, key and value heads of B x T tokens, turned and ordered by head. */
function headsGroup(B: number, T: number) {
  const [K, D, counts] = [2048, 64, [32, 8, 8]] as const;
  const x: TensorType = { shape: [B * T, K], dtype: "f16" };
  const positions: TensorType = { shape: [B, T], dtype: "i32" };
  const weights = counts.map((heads): TensorType => ({ shape: [heads * D, K], dtype: "f16" }));
  const outputs = counts.map((heads): TensorType => ({ shape: [B, heads, T, D], dtype: "f16" }));
  const { inverseFrequencies, attentionScale } = ropeFrequencies({ rotaryDim: D, theta: 500_000 });
  const parts = counts.map((heads, i): ProductPart => {
    const output = outputs[i] as TensorType;
    const rotation: GroupMember = {
      spec: {
        name: "rotary",
        infer: () => [output],
        kernels: { pieces: { rotation: rotaryPiece } },
      } as OpSpec,
      params: {
        inverseFrequencies: [...inverseFrequencies],
        attentionScale,
        layout: "half",
        isInverse: false,
      },
      types: [output, positions],
      output,
      inputs: [-1, 4],
    };
    return {
      products: [
        {
          spec: matmulOp.spec as OpSpec,
          params: { transposeA: false, transposeB: true },
          types: [x, weights[i] as TensorType],
          output: { shape: [B * T, heads * D], dtype: "f16" },
          inputs: [0, 1 + i],
        },
      ],
      ...(T > 1 && { order: { length: T, width: D } }),
      ...(i < 2 && { rotation }),
      targets: [{ kind: "output", index: i, type: output }],
    };
  });
  return tileGroupWgsl({ group: { parts }, inputs: [x, ...weights, positions], outputs }, largeGpu);
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

  test("products of many rows, joined on matrix units, compile", async () => {
    const kernels = [
      gatedGroup("f16", "none", 32),
      gatedGroup("f16", "none", 61),
      gatedGroup("f16", "none", 2048),
      headsGroup(1, 2048),
      headsGroup(32, 1),
    ];
    for (const kernel of kernels) {
      const [step] = kernel?.steps ?? [];
      expect(step?.code).toContain("subgroupMatrixMultiplyAccumulate");
      await expectCompiles(compiler, withHardwareHalves(step?.code ?? ""));
    }
    // One launch whose tiles are those of all three: 24 of 128 outputs for 16 of 128 rows.
    expect(headsGroup(1, 2048)?.steps.map(({ grid }) => grid)).toEqual([[384, 1, 1]]);
  });
}
