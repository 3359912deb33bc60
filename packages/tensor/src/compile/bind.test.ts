import { expect, test, vi } from "vitest";
import { cpu, HeddleError, reference, type Tensor, tensor, writeInto } from "../index.js";
import { compile } from "./compile.js";

test.each([
  ["cpu", () => cpu({ threads: 1 })],
  ["reference", () => reference()],
] as const)("a bound run works on the same tensors again and again: %s", async (_name, make) => {
  const device = make();
  const before = device.memory();
  const x = tensor(device, [1, 2]);
  const step = compile((x: Tensor) => {
    const next = x.mul(2);
    writeInto(x, next);
    return { next: next.add(1) };
  });
  const bound = step.bind(x);
  const allocations = device.memory().allocations;
  bound.run();
  expect([...(await bound.result.next.data())]).toEqual([3, 5]);
  bound.run();
  bound.run();
  expect([...(await bound.result.next.data())]).toEqual([9, 17]);
  expect([...(await x.data())]).toEqual([8, 16]);
  expect(device.memory().allocations).toBe(allocations);
  // The arguments stay alive as long as the bound run does.
  x.dispose();
  bound.run();
  expect([...(await bound.result.next.data())]).toEqual([17, 33]);
  bound.dispose();
  bound.dispose();
  expect(() => bound.run()).toThrow(HeddleError);
  expect(() => bound.run()).toThrow("a bound run must be alive; got one after its dispose(). Bind it again.");
  step.dispose();
  expect(device.memory()).toMatchObject({ buffers: before.buffers, bytes: before.bytes });
  device.dispose();
});

test("a bound run ends with the compiled function; its result and arguments stay until it is disposed", async () => {
  const device = cpu({ threads: 1 });
  const before = device.memory();
  const x = tensor(device, [1, 2]);
  const step = compile((x: Tensor) => x.mul(2).sum());
  const bound = step.bind(x);
  bound.run();
  step.dispose();
  expect(() => bound.run()).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: compile: a bound run must be alive; got one after the compiled function's dispose(). Bind it again.]`,
  );
  expect(await bound.result.item()).toBe(6);
  // The function itself plans anew; what was bound before does not come back.
  using again = step(x);
  expect(await again.item()).toBe(6);
  expect(() => bound.run()).toThrow(HeddleError);
  bound.dispose();
  step.dispose();
  x.dispose();
  again.dispose();
  expect(device.memory()).toMatchObject({ buffers: before.buffers, bytes: before.bytes });
  device.dispose();
});

test("a bound run that finds no memory for its second result gives that of the first back", () => {
  const device = reference();
  const x = tensor(device, [1, 2]);
  const step = compile((x: Tensor) => [x.mul(2), x.add(1)]);
  step.bind(x).dispose();
  const { buffers, bytes } = device.memory();
  const alloc = device.alloc.bind(device);
  const full = vi.spyOn(device, "alloc").mockImplementationOnce(alloc);
  full.mockImplementationOnce(() => {
    throw new HeddleError("device", "no memory is left");
  });
  expect(() => step.bind(x)).toThrow("no memory is left");
  expect(device.memory()).toMatchObject({ buffers, bytes });
  step.dispose();
  x.dispose();
  device.dispose();
});
