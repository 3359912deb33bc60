import { HeddleError, randn, type Tensor, tensor, writeInto } from "@heddle/tensor";
import { afterAll, describe, expect, test, vi } from "vitest";
import { fromBuffer, toBuffer, webgpu } from "../src/index.js";
import { usage } from "../src/native.js";
import { findDevice } from "./find-device.js";
import { nullAdapter } from "./null-adapter.js";

const { device, reason } = await findDevice();
afterAll(() => device?.dispose());

if (device === undefined) test.skip(`memory on WebGPU: ${reason}`);
else {
  test("what is freed before it is submitted may be given back to the driver at once", async () => {
    const mine = await webgpu({ device: device.native, maxIdleBytes: 0 });
    const x = tensor(mine, Float32Array.of(1, 2, 3));
    const doubled = x.mul(2);
    x.dispose();
    const result = doubled.add(1);
    doubled.dispose();
    expect([...(await result.data())]).toEqual([3, 5, 7]);
    result.dispose();
    expect(mine.idleBytes).toBe(0);
    await mine.sync();
    mine.dispose();
  });

  test("idle buffers that recorded work reads may be handed back", async () => {
    using x = tensor(device, Float32Array.of(1, 2, 3));
    const doubled = x.mul(2);
    using result = doubled.add(1);
    doubled.dispose();
    device.trim();
    expect([...(await result.data())]).toEqual([3, 5, 7]);
  });

  describe("a caller's buffer is never destroyed", () => {
    const createBuffer = (size: number) =>
      device.native.createBuffer({ size, usage: usage.storage | usage.copySource | usage.copyTarget });

    test("not by freeing its tensors, trimming, or the end of the device", async () => {
      const mine = await webgpu({ device: device.native, maxIdleBytes: 0 });
      const buffer = createBuffer(4096);
      const destroy = vi.spyOn(buffer, "destroy");
      device.native.queue.writeBuffer(buffer, 0, Float32Array.of(1, 2, 3, 4).buffer, 0, 16);
      const type = { shape: [4], dtype: "f32" } as const;
      for (let i = 0; i < 3; i++) {
        const x = fromBuffer(mine, type, buffer);
        const y = x.mul(2);
        writeInto(x, y);
        y.dispose();
        x.dispose();
        mine.trim();
      }
      const left = fromBuffer(mine, type, buffer);
      await mine.sync();
      mine.dispose();
      left.dispose();
      expect(destroy).not.toHaveBeenCalled();
      using again = fromBuffer(device, type, buffer);
      expect([...(await again.data())]).toEqual([8, 16, 24, 32]);
      buffer.destroy();
    });

    test("and a tensor's own goes on to the next tensor, not to the caller's end", async () => {
      const x = randn(device, [64], { seed: 1 });
      const { buffer } = toBuffer(x);
      const destroy = vi.spyOn(buffer, "destroy");
      const before = device.idleBytes;
      x.dispose();
      expect(device.idleBytes).toBeGreaterThan(before);
      expect(destroy).not.toHaveBeenCalled();
      device.trim();
      expect(destroy).toHaveBeenCalledTimes(1);
    });
  });
}

// Dawn's null backend has half a gigabyte, and says when it is full.
const { adapter, reason: nothing } = await nullAdapter<object>();
if (adapter === undefined) test.skip(`out of memory on WebGPU: ${nothing}`);
else {
  const bytes = 100 * 2 ** 20;
  // An adapter makes one device.
  const smallDevice = async () => {
    const { adapter = {}, keep } = await nullAdapter<object>();
    return { device: await webgpu({ adapter }), keep };
  };
  async function errorOf(promise: Promise<unknown>): Promise<HeddleError> {
    const error = await promise.then(
      () => undefined,
      (error: unknown) => error,
    );
    if (!HeddleError.is(error)) throw new Error(`expected a HeddleError; got ${error}`);
    return error;
  }

  test("a full GPU is an error of the next wait; what is freed makes room again", async () => {
    const { device, keep } = await smallDevice();
    const make = () => tensor(device, new Uint8Array(bytes));
    const kept: Tensor[] = [];
    for (let i = 0; i < 7; i++) kept.push(make());
    const error = await errorOf(device.sync());
    expect(error.code).toBe("capacity");
    expect(error.details).toEqual({ bytes: 117_440_512 });
    expect(error.message.replace(/\(.*\)/s, "(…)")).toMatchInlineSnapshot(
      `"webgpu: the GPU must have room for every tensor; got no memory for 117440512 more bytes (…). Free tensors, use a smaller batch or cache, or a quantised model."`,
    );
    for (const x of kept) x.dispose();
    // What came too late for the first wait: commands on buffers that are not there.
    await device.sync().catch(() => {});
    device.trim();
    // Neither the full GPU nor its missing buffers are met again.
    using x = make();
    using y = make();
    await device.sync();
    expect(x.byteLength + y.byteLength).toBe(2 * bytes);
    expect(keep).toBeDefined();
    device.dispose();
  });

  test("reading back may find no room, too", async () => {
    const { device, keep } = await smallDevice();
    const kept: Tensor[] = [];
    for (let i = 0; i < 4; i++) kept.push(tensor(device, new Uint8Array(bytes)));
    await device.sync();
    const error = await errorOf((kept[0] as Tensor).data());
    expect(error.code).toBe("capacity");
    for (const x of kept) x.dispose();
    expect(keep).toBeDefined();
    device.dispose();
  });

  test("a GPU that is lost while it is full ends every wait", async () => {
    const { device, keep } = await smallDevice();
    const kept: Tensor[] = [];
    for (let i = 0; i < 7; i++) kept.push(tensor(device, new Uint8Array(bytes)));
    const waiting = errorOf((kept[6] as Tensor).data());
    device.native.destroy();
    expect((await waiting).code).toMatch(/^(capacity|device)$/);
    expect((await errorOf(device.sync().then(() => device.sync()))).code).toMatch(/^(capacity|device)$/);
    for (const x of kept) x.dispose();
    expect(keep).toBeDefined();
    device.dispose();
  });
}
