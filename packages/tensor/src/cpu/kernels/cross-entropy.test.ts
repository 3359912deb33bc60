import { describe, expect, test } from "vitest";
import { crossEntropyGradOp, crossEntropyOp } from "../../ops/loss.js";
import { hostArray } from "../../reference/host-array.js";
import { crossEntropyGradKernel, crossEntropyKernel } from "./cross-entropy.js";
import { machines, randomArray, runKernel, worstError } from "./testing/run-kernel.js";

describe("cross-entropy kernels", () => {
  test.each([
    { rows: 1, columns: 1, labelSmoothing: 0 },
    { rows: 7, columns: 5, labelSmoothing: 0 },
    { rows: 7, columns: 67, labelSmoothing: 0.1 },
    { rows: 3, columns: 1501, labelSmoothing: 0.2 },
  ])(
    "match the float64 loops: $rows rows of $columns, smoothing $labelSmoothing",
    ({ rows, columns, labelSmoothing }) => {
      const params = { ignoreIndex: 2, labelSmoothing };
      const logits = randomArray([rows, columns], "f32", { seed: 1, scale: 4 });
      const targets = hostArray({ shape: [rows], dtype: "i32" });
      targets.data.forEach((_, i) => {
        targets.data[i] = (i * 31) % columns;
      });
      if (rows > 2) targets.data[2] = 2;
      const dloss = randomArray([rows], "f32", { seed: 2 });
      const perRow = { shape: [rows], dtype: "f32" as const };
      const full = { shape: [rows, columns], dtype: "f32" as const };
      const [loss, lse] = [hostArray(perRow), hostArray(perRow)];
      crossEntropyOp.spec.evaluate?.([logits, targets], [loss, lse], params);
      const dlogits = hostArray(full);
      crossEntropyGradOp.spec.evaluate?.([logits, targets, lse, dloss], [dlogits], params);
      const shape = { rows, columns, dtype: "f32" as const, ...params };
      for (const features of machines) {
        for (const ranges of [1, 3]) {
          const forward = runKernel(
            crossEntropyKernel(shape, features),
            [logits, targets],
            [perRow, perRow],
            { ranges },
          );
          expect(worstError(forward[0] ?? loss, loss)).toBeLessThan(1e-6);
          expect(worstError(forward[1] ?? lse, lse)).toBeLessThan(1e-6);
          const inputs = [logits, targets, lse, dloss];
          const [gradient] = runKernel(crossEntropyGradKernel(shape, features), inputs, [full], { ranges });
          expect(worstError(gradient ?? dlogits, dlogits)).toBeLessThan(1e-6);
        }
      }
    },
  );

  test("a target that is no class gives NaN", () => {
    const logits = randomArray([2, 5], "f32");
    const targets = hostArray({ shape: [2], dtype: "i32" });
    targets.data.set([5, -1]);
    const shape = { rows: 2, columns: 5, dtype: "f32" as const, ignoreIndex: -100, labelSmoothing: 0 };
    const perRow = { shape: [2], dtype: "f32" as const };
    for (const features of machines) {
      const [loss] = runKernel(crossEntropyKernel(shape, features), [logits, targets], [perRow, perRow]);
      expect(Array.from(loss?.data ?? [])).toEqual([Number.NaN, Number.NaN]);
    }
  });
});
