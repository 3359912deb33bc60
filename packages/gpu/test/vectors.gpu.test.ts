import {
  concat,
  type Device,
  type DType,
  layerNorm,
  randn,
  reference,
  rmsNorm,
  type Tensor,
  tensor,
} from "@heddle/tensor";
import { afterAll, describe, expect, test } from "vitest";
import { normVectorsWgsl } from "../../tensor/src/wgsl/kernels/row-vectors.js";
import { expectCompiles, findCompiler, largeGpu } from "./find-compiler.js";
import { findDevice } from "./find-device.js";

const { device, reason } = await findDevice();
const { compiler, reason: noCompiler } = await findCompiler();
afterAll(() => device?.dispose());

/** The same numbers, rounded to `dtype`, on a device. */
async function place(
  on: Device,
  shape: readonly number[],
  { seed, dtype, as }: { seed: number; dtype: DType; as: DType },
) {
  const values = await randn(reference(), shape, { seed }).cast(dtype).cast("f64").data();
  return tensor(on, Float64Array.from(values), { shape, dtype: as });
}

const steps: Partial<Record<DType, number>> = { f32: 2 ** -24, f16: 2 ** -11, bf16: 2 ** -8 };

if (device === undefined) test.skip(`16 bytes at a time on WebGPU: ${reason}`);
else {
  describe.each(["f32", "f16", "bf16"] as const)("norms of %s", (dtype) => {
    test.each([
      [3, 8],
      [1, 264],
      [2, 2056],
      [1, 8192],
    ])("%i rows of %i", async (rows, columns) => {
      const run = async (on: Device, as: DType) => {
        const [x, weight, bias] = [
          await place(on, [rows, columns], { seed: 1, dtype, as }),
          await place(on, [columns], { seed: 2, dtype, as }),
          await place(on, [columns], { seed: 3, dtype, as }),
        ];
        const results = [rmsNorm(x, weight, { offset: 1 }), layerNorm(x, { weight, bias }), layerNorm(x, {})];
        return Promise.all(results.map((result) => result.data()));
      };
      const [actual, expected] = [await run(device, dtype), await run(reference(), "f64")];
      const step = steps[dtype] ?? 0;
      for (const [k, values] of expected.entries()) {
        let worst = 0;
        for (const [i, value] of [...values].entries()) {
          const gap =
            Math.abs(Number(actual[k]?.[i]) - Number(value)) / (step * 1.01 * Math.abs(Number(value)) + 4e-6);
          worst = Number.isNaN(gap) ? Number.POSITIVE_INFINITY : Math.max(worst, gap);
        }
        expect(worst).toBeLessThanOrEqual(1);
      }
    });
  });

  test.each(["f32", "f16", "u8", "bool"] as const)("copies of %s", async (dtype) => {
    const numbers = (count: number) =>
      Float64Array.from({ length: count }, (_, i) => (i * 7 + Math.floor(i / 13)) % 11);
    for (const [C, D] of [
      [3, 16],
      [2, 48],
      [5, 8],
    ] as const) {
      const run = async (on: Device) => {
        const x = tensor(on, numbers(2 * C * 3 * D), { shape: [2, C, 3, D], dtype });
        const results: Tensor[] = [
          x.transpose([0, 2, 1, 3]),
          x.narrow(2, 1, 3),
          x.narrow(3, D / 2, D),
          concat([x, x.narrow(3, 0, D / 2)], { axis: 3 }),
          x.reshape([2 * C, 1, 3 * D]).broadcastTo([2 * C, 4, 3 * D]),
          x.pad([
            [0, 0],
            [1, 0],
            [0, 0],
            [0, 0],
          ]),
        ];
        return Promise.all(results.map(async (result) => Array.from(await result.data(), Number)));
      };
      expect(await run(device)).toEqual(await run(reference()));
    }
  });
}

if (compiler === undefined) test.skip(`norms for adapters with subgroups: ${noCompiler}`);
else {
  test("norms of whole vectors add up by subgroups", async () => {
    for (const dtype of ["f32", "f16", "bf16"] as const) {
      for (const columns of [64, 2048, 2052]) {
        for (const norm of [
          { kind: "rms", eps: 1e-5, offset: 0 },
          { kind: "layer", eps: 1e-5, hasWeight: true, hasBias: true },
        ] as const) {
          const kernel = normVectorsWgsl({ shape: [9, columns], dtype }, norm, largeGpu);
          const [step] = kernel?.steps ?? [];
          if (columns % 8 !== 0 && dtype !== "f32") {
            expect(step).toBeUndefined();
            continue;
          }
          expect(step?.code).toContain("subgroupAdd");
          await expectCompiles(compiler, step?.code ?? "");
        }
      }
    }
  });
}
