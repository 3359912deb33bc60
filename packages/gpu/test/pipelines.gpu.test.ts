import { compile, type Tensor, tensor } from "@heddle/tensor";
import { expect, test, vi } from "vitest";
import { webgpu } from "../src/index.js";
import type { NativeDevice } from "../src/native.js";
import { nullAdapter } from "./null-adapter.js";

const { adapter, keep, reason } = await nullAdapter<NativeDevice>();

if (adapter === undefined) test.skip(`what is compiled on WebGPU: ${reason}`);
else {
  test("only kernels that run are compiled, each once", async () => {
    const native = await adapter.requestDevice({});
    const compiles = vi.spyOn(native, "createComputePipeline");
    const device = await webgpu({ device: native });
    using x = tensor(device, new Float32Array(60), { shape: [6, 10] });
    // Four ops are one kernel, of which the parts are not compiled.
    const step = compile((x: Tensor) => x.mul(2).add(1).exp().sum({ axes: 1 }));
    step(x).dispose();
    expect(step.plans()[0]?.launches.length).toBe(1);
    expect(compiles).toHaveBeenCalledTimes(1);
    step(x).dispose();
    using longer = tensor(device, new Float32Array(80), { shape: [8, 10] });
    step(longer).dispose();
    // Sizes are uniforms; only whether they fill vectors is compiled.
    expect(compiles).toHaveBeenCalledTimes(1);
    x.mul(2).dispose();
    longer.mul(2).dispose();
    expect(compiles).toHaveBeenCalledTimes(2);
    step.dispose();
    device.dispose();
    native.destroy();
    expect(keep).toBeDefined();
  });
}
