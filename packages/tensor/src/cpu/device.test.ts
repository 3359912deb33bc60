import { afterEach, describe, expect, test } from "vitest";
import type { DeviceBuffer, OpCall, Program } from "../device.js";
import { HeddleError } from "../error.js";
import type { OpSpec } from "../op.js";
import { assemble } from "../wasm/assembler.js";
import { f32, i32 } from "../wasm/scalar.js";
import { type CpuDevice, type CpuOptions, cpu } from "./device.js";
import { gemm } from "./kernels/gemm.js";

const devices: CpuDevice[] = [];
afterEach(() => {
  for (const device of devices.splice(0)) device.dispose();
});

function setUp(options: CpuOptions = { threads: 2 }): CpuDevice {
  const device = cpu(options);
  devices.push(device);
  return device;
}

const vector = (length: number) => ({ shape: [length], dtype: "f32" }) as const;

/** out = x + 1 as a kernel; the factory counts how often it is asked. */
function addOne(asked = { count: 0 }): OpSpec<unknown> {
  return {
    name: "addOne",
    infer: (inputs) => inputs,
    kernels: {
      wasm: ({ inputs }, { sharedMemory }) => {
        asked.count++;
        const emit = () =>
          assemble({ sharedMemory }, (f) => {
            const [x, out, begin, end] = [f.param("i32"), f.param("i32"), f.param("i32"), f.param("i32")];
            f.for(begin, end, 1, (i) => {
              const offset = f.let(i32.shl(i, 2));
              f.store("f32", i32.add(out, offset), f32.add(f32.load(i32.add(x, offset)), 1));
            });
          });
        const args = [{ kind: "buffer", index: 0 } as const, { kind: "buffer", index: 1 } as const];
        return {
          steps: [{ module: { key: "add-one", emit }, args, units: inputs[0]?.shape[0] ?? 0, grain: 64 }],
        };
      },
    },
  };
}

/** out = 2 x in JavaScript; in half precision too. */
const twice: OpSpec<unknown> = {
  name: "twice",
  infer: (inputs) => inputs,
  evaluate([x], [out]) {
    for (let i = 0; i < (out?.data.length ?? 0); i++) if (x && out) out.data[i] = 2 * (x.data[i] ?? 0);
  },
};

/** Adds 10 to its input in place. */
const bump: OpSpec<unknown> = {
  name: "bump",
  infer: () => [],
  mutates: [0],
  evaluate([x]) {
    if (x) for (let i = 0; i < x.data.length; i++) x.data[i] = (x.data[i] ?? 0) + 10;
  },
};

function callOf(op: OpSpec<unknown>, length: number, params: unknown = {}): OpCall {
  return { op, params, inputs: [vector(length)], outputs: op.infer([vector(length)], params) };
}

function floats(device: CpuDevice, values: readonly number[]): DeviceBuffer {
  const buffer = device.alloc(values.length * 4);
  device.write(buffer, Float32Array.from(values));
  return buffer;
}

const numbers = (device: CpuDevice, buffer: DeviceBuffer) => [...new Float32Array(device.readSync(buffer))];

function lower(device: CpuDevice, call: OpCall) {
  const kernel = device.lower(call);
  if (kernel === undefined) throw new Error("no kernel");
  return kernel;
}

describe("cpu", () => {
  test("writes and reads parts of buffers, and counts them", async () => {
    const device = setUp();
    const buffer = floats(device, [1, 2, 3, 4]);
    device.write(buffer, Float32Array.of(9), 8);
    expect(numbers(device, buffer)).toEqual([1, 2, 9, 4]);
    expect([...new Float32Array(await device.read(buffer, 4, 8))]).toEqual([2, 9]);
    expect(device.memory()).toEqual({ buffers: 1, bytes: 16, peakBytes: 16, allocations: 1 });
    device.free(buffer);
    expect(device.memory()).toMatchObject({ buffers: 0, bytes: 0 });
    expect(() => device.free(buffer)).toThrow(/Heddle bug: a buffer was freed twice/);
    expect(() => device.readSync(buffer)).toThrow(/Heddle bug: a buffer was used after it was freed/);
  });

  test.each([1, 2])("launches kernels and JavaScript loops on %i threads", (threads) => {
    const device = setUp({ threads });
    for (const length of [1, 3, 10_000]) {
      const values = Array.from({ length }, (_, i) => i);
      const [x, out] = [floats(device, values), device.alloc(length * 4)];
      device.launch(lower(device, callOf(addOne(), length)), [x, out]);
      expect(numbers(device, out)).toEqual(values.map((value) => value + 1));
      device.launch(lower(device, callOf(twice, length)), [x, out]);
      expect(numbers(device, out)).toEqual(values.map((value) => value * 2));
      device.launch(lower(device, callOf(bump, length)), [x]);
      expect(numbers(device, x)).toEqual(values.map((value) => value + 10));
    }
  });

  test("decodes half floats for JavaScript loops", () => {
    const device = setUp();
    const type = { shape: [3], dtype: "bf16" } as const;
    const [x, out] = [device.alloc(6), device.alloc(6)];
    device.write(x, Uint16Array.of(0x3f80, 0xc000, 0x3f00));
    device.launch(lower(device, { op: twice, params: {}, inputs: [type], outputs: [type] }), [x, out]);
    expect([...new Uint16Array(device.readSync(out))]).toEqual([0x4000, 0xc080, 0x3f80]);
  });

  test("asks for a kernel once per types and parameters", () => {
    const device = setUp();
    const asked = { count: 0 };
    const op = addOne(asked);
    const first = lower(device, callOf(op, 8, { a: [1, { b: -0 }], c: "x", d: undefined }));
    expect(lower(device, callOf(op, 8, { a: [1, { b: -0 }], c: "x", d: undefined }))).toBe(first);
    expect(asked.count).toBe(1);
    for (const params of [
      { a: [1, { b: 0 }], c: "x", d: undefined },
      { a: 1 },
      { a: "1" },
      { a: Number.NaN },
      { a: null },
    ]) {
      lower(device, callOf(op, 8, params));
    }
    lower(device, callOf(op, 9, { a: 1 }));
    expect(asked.count).toBe(7);
    const withFunction = callOf(op, 8, { f: () => 1 });
    expect(lower(device, withFunction)).not.toBe(lower(device, withFunction));
  });

  test("has no kernel for an op that is a composition", () => {
    const composed: OpSpec<unknown> = { ...twice, reference: (inputs) => inputs };
    expect(setUp().lower(callOf(composed, 4))).toBeUndefined();
  });

  test.each([1, 2])("runs plans over an arena and slots on %i threads", (threads) => {
    const device = setUp({ threads });
    const length = 5000;
    const add = lower(device, callOf(addOne(), length));
    const double = lower(device, callOf(twice, length));
    const bytes = length * 4;
    const inArena = (index: number) =>
      ({ kind: "arena", memory: index, byteOffset: index * 20_032, byteLength: bytes }) as const;
    const slot = (index: number) => ({ kind: "slot", index }) as const;
    const program: Program = {
      arenaBytes: 2 * 20_032,
      slots: 2,
      launches: [
        { kernel: add, buffers: [slot(0), inArena(0)] },
        { kernel: add, buffers: [inArena(0), inArena(1)] },
        { kernel: double, buffers: [inArena(1), inArena(0)] },
        { kernel: add, buffers: [inArena(0), slot(1)] },
      ],
    };
    const plan = device.plan(program);
    const before = device.memory().allocations;
    for (const start of [0, 100]) {
      const values = Array.from({ length }, (_, i) => start + i);
      const [x, out] = [floats(device, values), device.alloc(bytes)];
      plan.run([x, out]);
      plan.run([x, out]);
      expect(numbers(device, out)).toEqual(values.map((value) => 2 * (value + 2) + 1));
      device.free(x);
      device.free(out);
    }
    expect(device.memory().allocations).toBe(before + 4);
    plan.dispose();
    plan.dispose();
    expect(device.memory().buffers).toBe(0);
    expect(() => plan.run([])).toThrow(/Heddle bug: a disposed plan was run/);
  });

  test("kernels share one scratch, which is not counted", () => {
    const device = setUp();
    const type = { shape: [64, 64], dtype: "f32" } as const;
    const planned = gemm({ a: type, b: type }, device.features);
    if (planned === undefined) throw new Error("no kernel");
    const values = Array.from({ length: 64 * 64 }, (_, i) => (i % 65 === 0 ? 2 : 0));
    const [a, b, c] = [floats(device, values), floats(device, values), device.alloc(64 * 64 * 4)];
    device.launch({ kind: "wasm", ...planned } as never, [a, b, c]);
    expect(numbers(device, c)).toEqual(values.map((value) => value * 2));
    expect(device.memory().buffers).toBe(3);
  });

  test("after dispose everything is an error and nothing is alive", () => {
    const device = setUp();
    const buffer = device.alloc(4);
    device.dispose();
    device.dispose();
    expect(device.memory()).toMatchObject({ buffers: 0, bytes: 0 });
    device.free(buffer);
    expect(() => device.alloc(4)).toThrow(HeddleError);
    expect(() => device.alloc(4)).toThrow(
      "alloc: the device must be alive; got a cpu device after its dispose(). Make a new one with cpu().",
    );
  });

  test("refuses options that it does not know", () => {
    expect(() => cpu({ thread: 2 } as CpuOptions)).toThrow(
      "cpu: options are threads, maxBytes and disable; got thread. Remove it or mend its spelling.",
    );
  });

  test("refuses a memory that is too small or too large", () => {
    for (const maxBytes of [0, 1.5, 2 ** 33]) {
      expect(() => cpu({ maxBytes })).toThrow(
        `cpu: maxBytes must be a whole number in 2097152..4294967296; got maxBytes ${maxBytes}. Leave it out for 4 GiB.`,
      );
    }
  });

  test("says so when the memory is full", () => {
    const device = setUp({ threads: 1, maxBytes: 2 ** 22 });
    expect(() => device.alloc(2 ** 22)).toThrow(
      /alloc: the memory of the cpu device must hold all of its tensors/,
    );
  });

  test("supports every dtype but f64", () => {
    const device = setUp({ threads: 1, disable: { relaxedSimd: true, revectorized: true } });
    expect(device.supports("bf16")).toBe(true);
    expect(device.supports("f64")).toBe(false);
    expect(device.features).toMatchObject({ relaxedSimd: false, revectorized: false, int8Dot: false });
    expect(setUp({ threads: 1, disable: { int8Dot: true } }).features.int8Dot).toBe(false);
    expect(device.limits.threads).toBe(1);
  });
});
