import {
  compile,
  cpu,
  HeddleError,
  randn,
  reference,
  type Tensor,
  tensor,
  verifyBackend,
  writeInto,
} from "@heddle/tensor";
import { afterAll, describe, expect, test } from "vitest";
import { fromBuffer, toBuffer, webgpu } from "../src/index.js";
import { usage } from "../src/native.js";
import { findDevice } from "./find-device.js";

const { device, reason } = await findDevice();
afterAll(() => device?.dispose());

async function errorOf(run: () => unknown): Promise<HeddleError> {
  try {
    await run();
  } catch (error) {
    if (HeddleError.is(error)) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

if (device === undefined) test.skip(`the device on WebGPU: ${reason}`);
else {
  test("agrees with the reference on what verifyBackend tries, in WGSL", async () => {
    const checks = await verifyBackend(device);
    expect(checks.filter(({ passed }) => !passed)).toEqual([]);
    expect(new Set(checks.map(({ executedOn }) => executedOn))).toEqual(new Set(["wgsl"]));
  });

  test("every launch of a plan runs in WGSL", () => {
    using x = randn(device, [9, 16], { seed: 1 });
    const run = compile((a: Tensor) => a.softmax().matmul(a, { transposeB: true }).sum({ axes: 0 }));
    run(x).dispose();
    expect(run.plans()[0]?.launches.map(({ executedOn }) => executedOn)).toEqual(
      run.plans()[0]?.launches.map(() => "wgsl"),
    );
    run.dispose();
  });

  test("ends with the memory that it began with, and reuses what was freed", async () => {
    const before = device.memory();
    const step = compile((a: Tensor) => a.mul(2).sum({ axes: 1 }).exp());
    for (let i = 0; i < 20; i++) {
      using x = tensor(device, new Float32Array(600).fill(i / 100), { shape: [20, 30] });
      using y = step(x);
      await y.data();
    }
    step.dispose();
    expect({ ...device.memory(), peakBytes: 0, allocations: 0 }).toEqual({
      ...before,
      peakBytes: 0,
      allocations: 0,
    });
    const idle = device.idleBytes;
    expect(idle).toBeGreaterThan(0);
    using x = tensor(device, new Float32Array(600));
    expect(device.idleBytes).toBeLessThan(idle);
    expect(x.size).toBe(600);
    device.trim();
    expect(device.idleBytes).toBe(0);
  });

  test("a write waits for the launches before it, a launch for the writes", async () => {
    using x = tensor(device, new Float32Array([1, 2, 3]));
    const doubled = x.mul(2);
    device.write(x.storage("test").buffer, new Float32Array([10, 20, 30]));
    const again = x.mul(2);
    expect([...(await doubled.data())]).toEqual([2, 4, 6]);
    expect([...(await again.data())]).toEqual([20, 40, 60]);
  });

  test("reads the part of a buffer that is asked for", async () => {
    using x = tensor(device, new Uint8Array([1, 2, 3, 4, 5, 6, 7]));
    const bytes = await device.read(x.storage("test").buffer, 3, 2);
    expect([...new Uint8Array(bytes)]).toEqual([4, 5]);
    using none = tensor(device, new Float32Array(0));
    expect(await none.data()).toHaveLength(0);
  });

  test("values may be written into a tensor that they are a view of", async () => {
    using x = tensor(device, new Float32Array([1, 2, 3, 4]), { shape: [2, 2] });
    using row = x.reshape([4]).reshape([2, 2]);
    writeInto(x, row);
    expect([...(await x.data())]).toEqual([1, 2, 3, 4]);
  });

  test("an update in place reads and writes one buffer", async () => {
    using weight = tensor(device, new Float32Array(700).fill(1));
    using moment = tensor(device, new Float32Array(700).fill(0.5));
    using grad = tensor(device, new Float32Array(700).fill(2));
    const step = compile((w: Tensor, m: Tensor, g: Tensor) => {
      const next = m.mul(0.5).add(g);
      const updated = w.sub(next.mul(0.1));
      writeInto(m, next);
      writeInto(w, updated);
    });
    step(weight, moment, grad);
    step(weight, moment, grad);
    expect((await moment.data())[699]).toBeCloseTo(3.125, 6);
    expect((await weight.data())[699]).toBeCloseTo(1 - 0.225 - 0.3125, 6);
    expect(step.plans()[0]?.launches).toHaveLength(1);
    step.dispose();
  });

  test("a tensor larger than a binding is refused", async () => {
    const { maxBufferBytes } = device.limits;
    const error = await errorOf(() => device.alloc(maxBufferBytes + 16));
    expect(error.code).toBe("capacity");
    expect(error.message.replaceAll(/\d{6,}/g, "N")).toMatchInlineSnapshot(
      `"webgpu: one tensor may take at most N bytes on this adapter (the smaller of maxBufferSize and maxStorageBufferBindingSize); got N. Split it, or store it in a smaller dtype."`,
    );
  });

  test("refuses f64 by name", async () => {
    const error = await errorOf(() => tensor(device, [1, 2], { dtype: "f64" }));
    expect(error.message).toMatchInlineSnapshot(
      `"tensor: the webgpu device does not hold f64; got f64. Use "f32"."`,
    );
  });

  test("an unknown option is an error", async () => {
    const error = await errorOf(() => webgpu({ power: "high" } as object));
    expect(error.message).toMatchInlineSnapshot(
      `"webgpu: options are device, adapter, powerPreference, toggles, maxIdleBytes, joinsSteps; got power. Remove it or mend its spelling."`,
    );
  });

  describe("buffers of the caller", () => {
    const createBuffer = (values: Float32Array<ArrayBuffer>) => {
      const buffer = device.native.createBuffer({
        size: Math.max(values.byteLength, 512),
        usage: usage.storage | usage.copySource | usage.copyTarget,
      });
      device.native.queue.writeBuffer(buffer, 0, values.buffer, 0, values.byteLength);
      return buffer;
    };

    test("become tensors without a copy and are not destroyed", async () => {
      const before = device.memory().buffers;
      const buffer = createBuffer(Float32Array.from({ length: 128 }, (_, i) => i));
      const x = fromBuffer(device, { shape: [2, 32], dtype: "f32" }, buffer, { byteOffset: 256 });
      const y = x.add(1);
      expect([...(await y.data())].slice(0, 3)).toEqual([65, 66, 67]);
      writeInto(x, y);
      x.dispose();
      y.dispose();
      const whole = fromBuffer(device, { shape: [128], dtype: "f32" }, buffer);
      expect((await whole.data())[64]).toBe(65);
      whole.dispose();
      expect(device.memory().buffers).toBe(before);
      buffer.destroy();
    });

    test("must hold the tensor at an aligned place", async () => {
      const buffer = createBuffer(new Float32Array(128));
      const type = { shape: [65], dtype: "f32" } as const;
      const error = await errorOf(() => fromBuffer(device, type, buffer, { byteOffset: 256 }));
      expect(error.message).toMatchInlineSnapshot(
        `"fromBuffer: the tensor must begin at a multiple of 256 bytes and end inside the buffer (in whole words); got byteOffset 256, 260 bytes of a buffer of 512. Copy the part into a buffer of its own."`,
      );
      buffer.destroy();
    });

    test("a tensor shows its own buffer", async () => {
      using x = tensor(device, new Float32Array([1, 2, 3]));
      using y = x.mul(3);
      const { buffer, byteOffset, byteLength } = toBuffer(y);
      expect([byteOffset, byteLength]).toEqual([0, 12]);
      using again = fromBuffer(device, { shape: [3], dtype: "f32" }, buffer, { byteOffset });
      expect([...(await again.data())]).toEqual([3, 6, 9]);
      const host = cpu({ threads: 1 });
      using onHost = tensor(host, [1]);
      const error = await errorOf(() => toBuffer(onHost));
      expect(error.message).toMatchInlineSnapshot(
        `"toBuffer: the tensor must live on a webgpu device; got cpu. Move it with \`await tensor.to(device)\`."`,
      );
    });
  });

  describe("a device of the caller", () => {
    test("is used and outlives Heddle's", async () => {
      const mine = await webgpu({ device: device.native });
      using x = tensor(mine, [1, 2, 3]);
      expect([...(await x.square().data())]).toEqual([1, 4, 9]);
      mine.dispose();
      expect((await errorOf(() => tensor(mine, [1]))).message).toMatchInlineSnapshot(
        `"alloc: the device must be alive; got a webgpu device after its dispose(). Make a new one with await webgpu()."`,
      );
      using still = tensor(device, [5]);
      expect(await still.square().item()).toBe(25);
    });
  });

  describe("a lost device", () => {
    test("turns into errors, also for those who wait, and a new one takes its place", async () => {
      const lost = await webgpu();
      const x = randn(lost, [64, 64], { seed: 1 });
      const pending = x.matmul(x).data();
      lost.native.destroy();
      await pending.catch((error) => expect(HeddleError.is(error)).toBe(true));
      await new Promise((resolve) => setTimeout(resolve, 10));
      const error = await errorOf(() => x.square().data());
      expect(error.code).toBe("device");
      expect(error.message).toMatch(
        /^webgpu: the GPU device must be there; got lost \(destroyed\): .*make a new device/s,
      );
      expect((await errorOf(() => lost.sync())).code).toBe("device");
      x.dispose();
      lost.dispose();
      const next = await webgpu();
      using y = tensor(next, [2]);
      expect(await y.square().item()).toBe(4);
      next.dispose();
    });
  });

  test("a command that the GPU refuses is an error of the next wait", async () => {
    device.native.createShaderModule({ code: "this is no WGSL" });
    const error = await errorOf(() => device.sync());
    expect(error.code).toBe("device");
    expect(error.message).toContain("webgpu: the GPU must accept every command; got");
    await device.sync();
  });

  test("random numbers are those of every device", async () => {
    const { dropout, randomKey } = await import("@heddle/tensor");
    const results = await Promise.all(
      [device, reference()].map(async (on) => {
        const x = tensor(on, new Float32Array(5000).fill(1));
        return Array.from(await dropout(x, { rate: 0.5, key: randomKey(on, 11) }).data());
      }),
    );
    expect(results[0]).toEqual(results[1]);
  });
}
