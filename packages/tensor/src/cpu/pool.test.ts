import { Worker } from "node:worker_threads";
import { afterEach, describe, expect, test } from "vitest";
import { HeddleError } from "../error.js";
import { assemble, type FunctionBuilder } from "../wasm/assembler.js";
import { f32, i32 } from "../wasm/scalar.js";
import { controlWords } from "./control.js";
import type { KernelModule } from "./kernel.js";
import { ALIGNMENT, LinearMemory } from "./memory.js";
import { Pool, type PoolArgument, type PoolStep } from "./pool.js";

const disposables: Pool[] = [];
afterEach(() => {
  for (const pool of disposables.splice(0)) pool.dispose();
});

function setUp(threads: number, options: { stallTimeoutMs?: number } = {}) {
  const memory = new LinearMemory({ isShared: true });
  const pool = new Pool(memory, { threads, ...options });
  disposables.push(pool);
  return { memory, pool };
}

function kernelModule(key: string, build: (f: FunctionBuilder) => void): KernelModule {
  return { key, emit: () => assemble({ sharedMemory: true }, build) };
}

/** x[i] = x[i] * 2 + 1. */
const doubleAndAdd = kernelModule("double-and-add", (f) => {
  const [x, begin, end] = [f.param("i32"), f.param("i32"), f.param("i32")];
  f.for(begin, end, 1, (i) => {
    const at = f.let(i32.add(x, i32.shl(i, 2)));
    f.store("f32", at, f32.add(f32.mul(f32.load(at), 2), 1));
  });
});

/** Counts down before it adds 1 to x[unit]: a slow kernel. */
const slow = kernelModule("slow", (f) => {
  const [x, rounds, begin, end] = [f.param("i32"), f.param("i32"), f.param("i32"), f.param("i32")];
  f.for(begin, end, 1, (i) => {
    f.for(0, rounds, 1, (round) => f.store("i32", x, i32.add(i32.load(x), round), 4096));
    const at = f.let(i32.add(x, i32.shl(i, 2)));
    f.store("i32", at, i32.add(i32.load(at), 1));
  });
});

/** Traps at one unit. */
const trapping = kernelModule("trapping", (f) => {
  const [at, begin, end] = [f.param("i32"), f.param("i32"), f.param("i32")];
  f.if(i32.and(i32.leS(begin, at), i32.ltS(at, end)), () => f.drop(i32.divU(1, 0)));
});

const slot = (index: number, byteOffset = 0): PoolArgument => ({ kind: "slot", slot: index, byteOffset });
const value = (number: number): PoolArgument => ({ kind: "value", value: number });

function floats(memory: LinearMemory, offset: number, length: number): Float32Array {
  return new Float32Array(memory.bytes().slice(offset, offset + length * 4).buffer);
}

describe("Pool", () => {
  test.each([1, 2, 4])("runs steps in order on %i threads", (threads) => {
    const { memory, pool } = setUp(threads);
    const length = 10_007;
    const x = memory.alloc(length * 4);
    memory.bytes().fill(0, x, x + length * 4);
    const step: PoolStep = { module: doubleAndAdd, args: [slot(0)], units: length, grain: 100 };
    const small = { ...step, grain: length };
    const plan = pool.prepare([step, small, small, step, step], 1);
    expect(plan.isParallel).toBe(threads > 1);
    expect(plan.stages.length).toBe(threads > 1 ? 4 : 1);
    for (let run = 1; run <= 50; run++) {
      memory.bytes().fill(0, x, x + length * 4);
      pool.run(plan, [x]);
      expect(new Set(floats(memory, x, length))).toEqual(new Set([31]));
    }
    if (threads === 1) expect(pool.workerChunks).toBe(0);
  });

  test("arguments reach kernels after memory that is not shared has grown", () => {
    const memory = new LinearMemory();
    const pool = new Pool(memory, { threads: 1 });
    disposables.push(pool);
    const module: KernelModule = {
      key: "scale",
      emit: () =>
        assemble({ sharedMemory: false }, (f) => {
          const [x, factor, begin, end] = [f.param("i32"), f.param("f32"), f.param("i32"), f.param("i32")];
          f.for(begin, end, 1, (i) => {
            const at = f.let(i32.add(x, i32.shl(i, 2)));
            f.store("f32", at, f32.mul(f32.load(at), factor));
          });
        }),
    };
    const [bits = 0] = new Int32Array(Float32Array.of(0.5).buffer);
    const plan = pool.prepare([{ module, args: [slot(0), value(bits)], units: 3, grain: 1 }], 1);
    const [x, y] = [memory.alloc(12), memory.alloc(12)];
    for (const address of [x, y]) new Float32Array(memory.memory.buffer, address, 3).set([2, 4, 6]);
    pool.run(plan, [x]);
    memory.alloc(memory.memory.buffer.byteLength);
    pool.run(plan, [y]);
    for (const address of [x, y]) expect(Array.from(floats(memory, address, 3))).toEqual([1, 2, 3]);
  });

  test("workers take part, and plans, slots and modules may change between runs", async () => {
    const { memory, pool } = setUp(2);
    const [a, b] = [memory.alloc(40_000), memory.alloc(40_000)];
    memory.bytes().fill(0, a, b + 40_000);
    const grow = pool.prepare([{ module: doubleAndAdd, args: [slot(0, 16)], units: 9000, grain: 10 }], 1);
    for (let i = 0; i < 3; i++) pool.run(grow, [a]);
    memory.alloc(100_000_000);
    await new Promise((resolve) => setTimeout(resolve, 50));
    // Where other processes hold the cores, a worker comes in time only for a longer run: each is twice as long.
    const countFor = (rounds: number) =>
      pool.prepare([{ module: slow, args: [slot(1), value(rounds)], units: 1000, grain: 1 }], 2);
    const count = countFor(1000);
    let runs = 0;
    for (; runs < 20; runs++) pool.run(count, [a, b]);
    const deadline = performance.now() + 20_000;
    for (let rounds = 2000; pool.workerChunks === 0 && performance.now() < deadline; runs++) {
      pool.run(countFor(rounds), [a, b]);
      rounds = Math.min(rounds * 2, 256_000);
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    pool.run(grow, [a]);
    expect(floats(memory, a, 10)).toEqual(Float32Array.of(0, 0, 0, 0, 15, 15, 15, 15, 15, 15));
    const counts = new Int32Array(memory.bytes().slice(b, b + 4000).buffer);
    expect(new Set(counts)).toEqual(new Set([runs]));
    expect(pool.workerChunks).toBeGreaterThan(0);
    pool.drop(grow);
    pool.run(count, [a, b]);
  });

  test("workers can be started ahead, once, and run what comes later", async () => {
    const { memory, pool } = setUp(2);
    pool.start();
    pool.start();
    expect(pool.threads).toBe(2);
    const x = memory.alloc(8192);
    memory.bytes().fill(0, x, x + 8192);
    const deadline = performance.now() + 20_000;
    let runs = 0;
    for (let rounds = 1000; pool.workerChunks === 0 && performance.now() < deadline; runs++) {
      await new Promise((resolve) => setTimeout(resolve, 1));
      pool.run(pool.prepare([{ module: slow, args: [slot(0), value(rounds)], units: 1000, grain: 1 }], 1), [
        x,
      ]);
      rounds = Math.min(rounds * 2, 256_000);
    }
    expect(pool.workerChunks).toBeGreaterThan(0);
    expect(new Set(new Int32Array(memory.bytes().slice(x, x + 4000).buffer))).toEqual(new Set([runs]));
  });

  test("memory that grew after the workers started is theirs too", () => {
    const { memory, pool } = setUp(2);
    const warm = memory.alloc(40_000);
    const plan = pool.prepare([{ module: doubleAndAdd, args: [slot(0)], units: 10_000, grain: 10 }], 1);
    const until = performance.now() + 100;
    while (performance.now() < until) pool.run(plan, [warm]);
    memory.alloc(200_000_000);
    const late = memory.alloc(40_000);
    memory.bytes().fill(0, late, late + 40_000);
    pool.run(plan, [late]);
    expect(new Set(floats(memory, late, 10_000))).toEqual(new Set([1]));
  });

  test("a trap on any thread is an error here, and the pool works on", () => {
    const { memory, pool } = setUp(3);
    const x = memory.alloc(4000);
    const fine = pool.prepare([{ module: slow, args: [slot(0), value(10)], units: 600, grain: 1 }], 1);
    for (let chunk = 0; chunk < 24; chunk++) {
      const traps = pool.prepare(
        [
          { module: trapping, args: [value(chunk * 10)], units: 240, grain: 10 },
          { module: slow, args: [slot(0), value(10)], units: 600, grain: 1 },
        ],
        1,
      );
      expect(() => pool.run(traps, [x])).toThrow(
        /launch: a kernel must not trap; got RuntimeError: divide by zero\. This is a bug of the kernel/,
      );
      memory.bytes().fill(0, x, x + 4000);
      pool.run(fine, [x]);
      expect(new Int32Array(memory.bytes().slice(x, x + 2400).buffer)).toEqual(new Int32Array(600).fill(1));
    }
  });

  test("a trap on the only thread is the same error", () => {
    const { pool } = setUp(1);
    const plan = pool.prepare([{ module: trapping, args: [value(0)], units: 1, grain: 1 }], 0);
    expect(() => pool.run(plan, [])).toThrow(HeddleError);
  });

  test("a worker that dies with a chunk in its hands is given up after the time limit", async () => {
    const { memory, pool } = setUp(2, { stallTimeoutMs: 300 });
    const x = memory.alloc(8192);
    const plan = pool.prepare([{ module: slow, args: [slot(0), value(100_000)], units: 64, grain: 1 }], 1);
    const ended = takeOneChunkAndDie(memory);
    expect(() => {
      const until = performance.now() + 10_000;
      while (performance.now() < until) pool.run(plan, [x]);
    }).toThrow(
      /launch: every worker thread must finish what it took; got none done for \d+ ms\. A worker has died/,
    );
    await ended;
    expect(pool.threads).toBe(1);
    memory.bytes().fill(0, x, x + 8192);
    pool.run(plan, [x]);
    expect(new Int32Array(memory.bytes().slice(x, x + 256).buffer)).toEqual(new Int32Array(64).fill(1));
  });

  test("dispose ends the workers; plans then run here", () => {
    const { memory, pool } = setUp(4);
    const x = memory.alloc(8192);
    const plan = pool.prepare([{ module: slow, args: [slot(0), value(1)], units: 64, grain: 1 }], 1);
    pool.run(plan, [x]);
    pool.dispose();
    expect(pool.threads).toBe(1);
    memory.bytes().fill(0, x, x + 8192);
    pool.run(plan, [x]);
    expect(new Int32Array(memory.bytes().slice(x, x + 256).buffer)).toEqual(new Int32Array(64).fill(1));
  });
});

/** A thread that takes a chunk of whatever runs, as a worker does, and ends without doing it. */
function takeOneChunkAndDie(memory: LinearMemory): Promise<unknown> {
  // The control block is the first thing that a pool allocates in a fresh memory.
  const source = `
    const { memory, ticketAt } = require("node:worker_threads").workerData;
    const ticket = new Int32Array(memory.buffer, ticketAt, 1);
    for (;;) {
      const value = Atomics.load(ticket, 0);
      const chunk = value & 1023;
      if (chunk > 0 && chunk < 10 && Atomics.compareExchange(ticket, 0, value, value + 1) === value) break;
    }`;
  const ticketAt = ALIGNMENT + controlWords.ticket * 4;
  const worker = new Worker(source, { eval: true, workerData: { memory: memory.memory, ticketAt } });
  return new Promise((resolve) => worker.on("exit", resolve));
}
