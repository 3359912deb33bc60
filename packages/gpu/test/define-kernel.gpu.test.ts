import { compile, cpu, randn, type Tensor } from "@heddle/tensor";
import { afterAll, expect, test } from "vitest";
import { trainWithCustomActivation } from "../examples/custom-activation.js";
import { defineKernel } from "../src/index.js";
import { findDevice } from "./find-device.js";

const { device, reason } = await findDevice();
afterAll(() => device?.dispose());

if (device === undefined) test.skip(`kernels of gpu.js on WebGPU: ${reason}`);
else {
  test("an activation of one's own trains on the GPU", async () => {
    const before = device.memory().buffers;
    const { first, last, executedOn } = await trainWithCustomActivation(device);
    expect(executedOn).toBe("wgsl");
    expect(last).toBeLessThan(first / 2);
    expect(device.memory().buffers).toBeGreaterThanOrEqual(before);
  });

  test("gives what gpu.js gives on the CPU, in one, two and three axes, compiled into a plan", async () => {
    const host = cpu({ threads: 1 });
    const blur = (source: string) => defineKernel({ name: "blur", source });
    const cases = [
      ["function (x, s) { return x[this.thread.x] * s + this.thread.x; }", [70_001]],
      ["function (x, s) { return x[this.thread.y][this.thread.x] * s + this.thread.y; }", [13, 70]],
      [
        "function (x, s) { return x[this.thread.z][this.thread.y][this.thread.x] * s + this.thread.z; }",
        [3, 5, 7],
      ],
    ] as const;
    for (const [source, shape] of cases) {
      const kernel = await blur(source);
      const run = compile((x: Tensor) => kernel(x.mul(2), 0.5).add(1));
      const [actual, expected] = await Promise.all(
        [device, host].map(async (on) => Array.from(await run(randn(on, shape, { seed: 4 })).data())),
      );
      for (const [i, value] of (actual ?? []).entries())
        expect(value).toBeCloseTo(expected?.[i] ?? Number.NaN, 3);
      run.dispose();
    }
    host.dispose();
  });
}
