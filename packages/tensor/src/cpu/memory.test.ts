import { describe, expect, test } from "vitest";
import { HeddleError } from "../error.js";
import { LinearMemory } from "./memory.js";

function caught(action: () => unknown): unknown {
  try {
    action();
  } catch (error) {
    return error;
  }
  return undefined;
}

describe("LinearMemory", () => {
  test("counts buffers, bytes, the peak and every allocation", () => {
    const memory = new LinearMemory();
    const a = memory.alloc(100);
    const b = memory.alloc(28);
    memory.alloc(1000, { isCounted: false });
    memory.free(a);
    expect(memory.report()).toEqual({ buffers: 1, bytes: 28, peakBytes: 128, allocations: 2 });
    memory.free(b);
    expect(memory.report()).toEqual({ buffers: 0, bytes: 0, peakBytes: 128, allocations: 2 });
  });

  test("gives a fresh view after growth, with the old contents", () => {
    const memory = new LinearMemory();
    const offset = memory.alloc(4);
    memory.bytes()[offset] = 42;
    const before = memory.bytes();
    memory.alloc(50_000_000);
    expect(memory.bytes()).not.toBe(before);
    expect(memory.bytes()[offset]).toBe(42);
    expect(memory.bytes().length).toBeGreaterThan(50_000_000);
  });

  test("can be shared between threads", () => {
    const memory = new LinearMemory({ isShared: true });
    memory.alloc(30_000_000);
    expect(memory.bytes().buffer).toBeInstanceOf(SharedArrayBuffer);
    expect(memory.bytes().length).toBeGreaterThan(30_000_000);
  });

  test("says what was asked, what is alive and the limit when it is full", () => {
    const memory = new LinearMemory({ maxBytes: 2_097_152 });
    memory.alloc(1_000_000);
    const error = caught(() => memory.alloc(1_500_000));
    expect(HeddleError.is(error) && error.code).toBe("capacity");
    expect(HeddleError.is(error) && error.details).toEqual({
      askedBytes: 1_500_000,
      aliveBytes: 1_000_000,
      limitBytes: 2_097_152,
    });
    expect(error).toMatchInlineSnapshot(
      `[HeddleError: alloc: the memory of the cpu device must hold all of its tensors; got a request of 1500000 bytes with 1000000 bytes alive and a limit of 2097152 bytes. Dispose tensors that are no longer needed (scope() does it for intermediate ones), or use smaller batches.]`,
    );
    memory.alloc(900_000);
  });

  test("calls a double free a bug", () => {
    const memory = new LinearMemory();
    const offset = memory.alloc(8);
    memory.free(offset);
    expect(() => memory.free(offset)).toThrow(/Heddle bug: offset 64 was freed twice/);
  });
});
