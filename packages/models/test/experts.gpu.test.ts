import { quantizeWeights } from "@heddle/quant";
import { type DType, disposeTree, randn, reference, type Tensor, tensor, valueAndGrad } from "@heddle/tensor";
import { afterAll, describe, expect, test } from "vitest";
import { findDevice } from "../../gpu/test/find-device.js";
import { expertLinear } from "../src/experts/expert-linear.js";
import { batchInputs, decoderLogits, loadModel } from "../src/index.js";
import { goldenExpected, goldenSource, rowsOf } from "./golden-model.js";
import { denseExperts, quantisedExperts } from "./quantised-experts.js";
import { relativeError } from "./relative-error.js";

const { device, reason } = await findDevice();
afterAll(() => device?.dispose());

if (device === undefined) test.skip(`experts on WebGPU: ${reason}`);
else {
  const exact = reference();
  const types = [
    ["f32", "f32", 1e-5],
    ["f32", "f16", 1e-5],
    ["f32", "bf16", 1e-5],
    ["f16", "f16", 2e-3],
  ] as const satisfies readonly (readonly [DType, DType, number])[];

  /** y, and the gradients of its weighted sum, on the device and on the reference device from the same numbers. */
  async function onBoth(
    [numExperts, out, into]: readonly [number, number, number],
    choices: readonly number[],
    [xType, weightType]: readonly [DType, DType],
  ) {
    const runs = [device, exact].map((on) => {
      if (on === undefined) throw new Error("no device");
      // Numbers that both devices hold exactly.
      const made = (shape: readonly number[], seed: number, dtype: DType) =>
        on.kind === "reference"
          ? randn(on, shape, { seed, dtype: "f32" }).cast(dtype).cast("f64")
          : randn(on, shape, { seed, dtype: "f32" }).cast(dtype);
      const x = made([choices.length, into], 1, xType);
      const weight = made([numExperts, out, into], 2, weightType);
      const bias = made([numExperts, out], 3, xType);
      const which = tensor(on, Int32Array.from(choices));
      const run = (rows: Tensor) => expertLinear(rows, { weight, bias }, which);
      const y = run(x);
      const { grad } = valueAndGrad((rows: Tensor) => run(rows).square().sum())(x);
      return { y, grad };
    });
    const [got, twin] = runs;
    if (got === undefined || twin === undefined) throw new Error("two runs were made");
    return { got, twin };
  }

  describe.each(types)("x in %s, weights in %s", (xType, weightType, tolerance) => {
    // Outputs that are no multiple of a workgroup's, widths from one vector on, few and many rows for the matrices.
    test.each([
      [3, 33, 4],
      [5, 16, 68],
      [1, 7, 132],
      [2, 50, 64],
    ])("%d experts of %d by %d", async (numExperts, out, into) => {
      for (const rows of [1, 4, 90]) {
        const choices = Array.from({ length: rows }, (_, row) => (row * 3 + 1) % numExperts);
        const { got, twin } = await onBoth([numExperts, out, into], choices, [xType, weightType]);
        expect(relativeError(await got.y.data(), await twin.y.data())).toBeLessThan(tolerance);
        expect(relativeError(await got.grad.data(), await twin.grad.data())).toBeLessThan(10 * tolerance);
      }
    });
  });

  test("a prompt's rows read the experts where they lie", async () => {
    using x = randn(device, [96, 64], { seed: 1 });
    using weight = randn(device, [8, 128, 64], { seed: 2 });
    using which = tensor(
      device,
      Int32Array.from({ length: 96 }, (_, row) => row % 8),
    );
    const before = device.memory().bytes;
    using y = expertLinear(x, { weight }, which);
    expect(y.executedOn).toBe("wgsl");
    await y.data();
    // No copies of matrices: the result is all that came.
    expect(device.memory().bytes - before).toBe(96 * 128 * 4);
  });

  test.each(["mixtral", "gpt_oss"])(
    "%s with experts of 4 bits has the logits of the widened ones",
    async (name) => {
      const model = await loadModel(goldenSource(name), { device });
      const weights = await quantizeWeights(model.weights, quantisedExperts);
      const [prompt = []] = rowsOf((await goldenExpected(name))["basic.input_ids"]);
      const inputs = batchInputs(model, [prompt]);
      using logits = decoderLogits(model.config, weights, inputs);
      using twin = decoderLogits(model.config, denseExperts(weights), inputs);
      expect(relativeError(await logits.data(), await twin.data())).toBeLessThan(1e-5);
      inputs.dispose();
      disposeTree(weights);
      model.dispose();
    },
  );
}
