import { compile, cpu, type Device, disposeTree, randn, scope, type Tensor, tensor } from "@heddle/tensor";
import { afterAll, describe, expect, test } from "vitest";
import { findDevice } from "../../gpu/test/find-device.js";
import { type AdamWOptions, adamW, decayMatrices } from "../src/optimizers/adamw.js";
import { describeOptimizerTraces } from "./optimizer-traces.js";

const { device, reason } = await findDevice();
afterAll(() => device?.dispose());

/** Nothing, one element, primes, more than a workgroup, and a few axes. */
const shapes: Readonly<Record<string, readonly number[]>> = {
  none: [0],
  "no rows": [0, 7],
  one: [1],
  scalar: [],
  prime: [1021],
  primes: [31, 37],
  axes: [2, 3, 5, 7],
};

type Tree = Readonly<Record<string, Tensor>>;

/** The same numbers on every device; elements with a gradient of exactly zero are among them. */
const treeOf = (on: Device, seed: number, dtype: "f32" | "f16" = "f32"): Tree =>
  Object.fromEntries(
    Object.entries(shapes).map(([name, shape], i) => [
      name,
      scope(on, () => {
        const x = randn(on, shape, { seed: seed * 100 + i });
        return x.mul(x.greater(-1).cast("f32")).cast(dtype);
      }),
    ]),
  );

if (device === undefined) test.skip(`optimizers on WebGPU: ${reason}`);
else {
  describe("traces of PyTorch", () => describeOptimizerTraces((run) => run(device)));

  describe("AdamW as on the CPU, over weights of awkward sizes", () => {
    const kinds: Readonly<Record<string, AdamWOptions>> = {
      plain: {},
      "matrices decay": { betas: [0.8, 0.9], weightDecay: 0.3, decays: decayMatrices },
      amsgrad: { betas: [0.7, 0.5], weightDecay: 0.1, amsgrad: true },
    };
    test.each(Object.entries(kinds))("%s", async (_name, options) => {
      const steps = async (on: Device) => {
        const optimizer = adamW(options);
        const weights = treeOf(on, 1);
        const state = optimizer.init(weights);
        const update = compile((weights: Tree, kept: typeof state, grads: Tree, learningRate: Tensor) =>
          optimizer.update(grads, kept, weights, { learningRate }),
        );
        for (let step = 0; step < 6; step++) {
          const grads = treeOf(on, 2 + step);
          const rate = tensor(on, 0.1 / (step + 1));
          update(weights, state, grads, rate);
          disposeTree([grads, rate]);
        }
        const launches = update.plans()[0]?.launches ?? [];
        const read = async (tree: Tree) =>
          Promise.all(
            Object.entries(tree).map(async ([name, x]) => [name, Array.from(await x.data())] as const),
          );
        const values = { weights: await read(weights), first: await read(state.first) };
        update.dispose();
        disposeTree([weights, state]);
        return { ...values, launches };
      };
      const before = device.memory().buffers;
      const host = cpu({ threads: 1 });
      const [actual, expected] = [await steps(device), await steps(host)];
      host.dispose();
      expect(device.memory().buffers).toBe(before);
      // One kernel a weight that has elements, and the averages of ones.
      expect(new Set(actual.launches.map(({ executedOn }) => executedOn))).toEqual(new Set(["wgsl"]));
      for (const part of ["weights", "first"] as const) {
        for (const [at, [name, values]] of actual[part].entries()) {
          const wanted = expected[part][at]?.[1] ?? [];
          expect(values.length, name).toBe((shapes[name] ?? []).reduce((n, m) => n * m, 1));
          for (const [i, value] of values.entries())
            expect(Math.abs(value - (wanted[i] ?? Number.NaN)), `${part} ${name} ${i}`).toBeLessThanOrEqual(
              2e-6 * (1 + Math.abs(wanted[i] ?? 0)),
            );
        }
      }
    });
  });
}
