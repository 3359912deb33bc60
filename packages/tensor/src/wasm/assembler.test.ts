import { describe, expect, test } from "vitest";
import { assemble, type FunctionBuilder } from "./assembler.js";
import { atomic } from "./atomic.js";
import { f32, f64, i32, i64 } from "./scalar.js";
import { f32x4, f64x2, i8x16, i16x8, i32x4, i64x2, v128 } from "./simd.js";
import { select, type Value } from "./value.js";

type Build = (f: FunctionBuilder) => void;

function instantiate(build: Build, sharedMemory = false) {
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 4, shared: sharedMemory });
  const module = new WebAssembly.Module(assemble({ sharedMemory }, build));
  const { run } = new WebAssembly.Instance(module, { env: { memory } }).exports;
  if (typeof run !== "function") throw new Error("no run");
  return { run, floats: new Float32Array(memory.buffer), ints: new Int32Array(memory.buffer) };
}

/** Value of an i32 expression. */
function evaluate(value: Value<"i32">): number {
  const { run, ints } = instantiate((f) => f.store("i32", 0, value));
  run();
  return ints[0] ?? Number.NaN;
}

describe("assemble", () => {
  test("adds two arrays with a vector loop and a scalar tail", () => {
    const { run, floats } = instantiate((f) => {
      const [a, b, out, n] = [f.param("i32"), f.param("i32"), f.param("i32"), f.param("i32")];
      const at = (pointer: Value<"i32">) => i32.add(pointer, i32.shl(i, 2));
      const i = f.local("i32");
      f.set(i, 0);
      f.advance(i, i32.sub(n, 3), 4, () =>
        f.store("v128", at(out), f32x4.add(v128.load(at(a)), v128.load(at(b)))),
      );
      f.advance(i, n, 1, () => f.store("f32", at(out), f32.add(f32.load(at(a)), f32.load(at(b)))));
    });
    for (const n of [0, 1, 3, 4, 5, 11]) {
      floats.fill(0).set(Array.from({ length: n }, (_, i) => i + 1));
      floats.set(
        Array.from({ length: n }, (_, i) => 100 * i),
        64,
      );
      run(0, 256, 512, n);
      expect(Array.from(floats.slice(128, 128 + n + 1))).toEqual([
        ...Array.from({ length: n }, (_, i) => 101 * i + 1),
        0,
      ]);
    }
  });

  test("takes parameters from memory where a function does units, and only there", () => {
    const memory = new WebAssembly.Memory({ initial: 1 });
    const exportsOf = (build: Build) =>
      new WebAssembly.Instance(new WebAssembly.Module(assemble({ sharedMemory: false }, build)), {
        env: { memory },
      }).exports as Record<"run" | "runFrom", (...numbers: number[]) => void>;
    const [ints, floats] = [new Int32Array(memory.buffer), new Float32Array(memory.buffer)];
    const { runFrom } = exportsOf((f) => {
      const [to, factor, offset] = [f.param("i32"), f.param("f32"), f.param("i32")];
      const [begin, end] = [f.param("i32"), f.param("i32")];
      f.for(begin, end, 1, (i) => {
        const sum = f32.mul(f32.convertI32S(i32.add(i, offset)), factor);
        f.store("f32", i32.add(to, i32.shl(i, 2)), sum);
      });
    });
    ints.set([1024, 0, -7], 16);
    floats[17] = 0.5;
    runFrom(64, 2, 4);
    expect(Array.from(floats.subarray(256, 261))).toEqual([0, 0, -2.5, -2, 0]);
    expect(exportsOf((f) => f.store("i32", f.param("i32"), 1)).runFrom).toBeUndefined();
    expect(
      exportsOf((f) => f.store("i32", i32.add(f.param("i32"), f.param("i32")), 1)).runFrom,
    ).toBeDefined();
  });

  test("branches out of blocks and back to loops", () => {
    const { run, ints } = instantiate((f) => {
      const n = f.param("i32");
      const steps = f.let(i32.const(0));
      f.block((done) =>
        f.loop((again) => {
          f.branchIf(done, i32.eq(n, 1));
          f.if(
            i32.and(n, 1),
            () => f.set(n, i32.add(i32.mul(n, 3), 1)),
            () => f.set(n, i32.shrU(n, 1)),
          );
          f.increase(steps, 1);
          f.branch(again);
        }),
      );
      f.store("i32", 0, steps);
    });
    run(27);
    expect(ints[0]).toBe(111);
  });

  test("keeps a let fixed while its source changes", () => {
    const { run, ints } = instantiate((f) => {
      const x = f.param("i32");
      const before = f.let(i32.add(x, 0));
      f.set(x, 7);
      f.store("i32", 0, before);
      f.store("i32", 4, x);
    });
    run(3);
    expect([ints[0], ints[1]]).toEqual([3, 7]);
  });

  test.each([0, 1, -1, 63, 64, -64, -65, 127, 128, 8191, 8192, 2 ** 31 - 1, -(2 ** 31)])(
    "encodes the constant %i",
    (n) => {
      expect(evaluate(i32.const(n))).toBe(n);
      expect(evaluate(i32.wrapI64(i64.const(BigInt(n))))).toBe(n);
    },
  );

  test("encodes float constants exactly", () => {
    expect(evaluate(i32.reinterpretF32(f32.const(Math.PI)))).toBe(0x40490fdb);
    expect(evaluate(f64.eq(f64.const(Math.E), Math.E))).toBe(1);
    expect(evaluate(i32x4.bitmask(f32x4.eq(f32x4.splat(Math.fround(0.1)), 0.1)))).toBe(15);
    expect(evaluate(select(1, i32.const(5), i32.const(6)))).toBe(5);
  });

  test("updates shared words atomically", () => {
    const { run, ints } = instantiate((f) => {
      f.atomicStore(0, 5);
      f.store("i32", 4, atomic.add(0, 3));
      f.store("i32", 8, atomic.compareExchange(0, 8, 40));
      f.store("i32", 12, atomic.load(0));
      f.store("i32", 16, atomic.wait(0, 1));
      f.store("i32", 20, atomic.notify(0, 1));
      f.fence();
    }, true);
    run();
    expect(Array.from(ints.slice(0, 6))).toEqual([40, 5, 8, 40, 1, 0]);
  });

  test("builds a vector constant once, before the loops that use it", () => {
    const uses = (count: number) =>
      assemble({ sharedMemory: false }, (f) => {
        f.for(0, 16 * count, 16, (p) => {
          for (let k = 0; k < count; k++) f.store("v128", p, f32x4.mul(v128.load(p), 0.1));
        });
      });
    const tenth = new Uint8Array(new Float32Array(4).fill(0.1).buffer).join();
    const occurrences = (bytes: Uint8Array) => bytes.join().split(tenth).length - 1;
    expect([uses(1), uses(5)].map(occurrences)).toEqual([1, 1]);
  });

  test("names a vector for one round of a loop", () => {
    const { run, floats } = instantiate((f) => {
      const last = f.local("v128");
      f.for(0, 48, 16, (p) => {
        const doubled = f.let(f32x4.add(v128.load(p), v128.load(p)));
        f.set(last, f32x4.add(doubled, last));
        f.store("v128", p, doubled, 64);
      });
      f.store("v128", 128, last);
    });
    floats.set([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    run();
    expect(Array.from(floats.slice(16, 28))).toEqual([2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24]);
    expect(Array.from(floats.slice(32, 36))).toEqual([30, 36, 42, 48]);
  });

  test("rejects a parameter after a local", () => {
    expect(() =>
      assemble({ sharedMemory: false }, (f) => {
        f.local("i32");
        f.param("i32");
      }),
    ).toThrowErrorMatchingInlineSnapshot(`[Error: Heddle bug: parameters must be declared before locals.]`);
  });
});

describe("every instruction validates", () => {
  const cases = instructionSamples();
  test.each(cases.map(([name, value]) => ({ name, value })))("$name", ({ value }) => {
    expect(WebAssembly.validate(assemble({ sharedMemory: false }, (f) => f.drop(value)))).toBe(true);
  });
  test("counts them", () => expect(cases.length).toBeGreaterThan(330));
});

/** Calls every method of every namespace with operands of its kind. */
function instructionSamples(): [string, Value][] {
  const samples: [string, Value][] = [];
  const lanes16 = Array.from({ length: 16 }, (_, i) => i);
  const vector = v128.const(new Uint8Array(16));
  const scalars = {
    i32: i32.const(1),
    i64: i64.const(1n),
    f32: f32.const(1),
    f64: f64.const(1),
    v128: vector,
  };
  const candidates: unknown[][] = [
    [new Uint8Array(16)],
    [vector, 0],
    [vector, 0, scalars.i32],
    [vector, 0, scalars.f32],
    [scalars.i32, vector, 0],
    [vector, vector, lanes16],
    [vector, vector, [0, 1, 2, 3]],
    [vector, vector, [0, 1]],
    ...Object.values(scalars).flatMap((x) => [[x], [x, x], [x, x, x], [x, scalars.i32]]),
  ];
  const namespaces = { i32, i64, f32, f64, v128, i8x16, i16x8, i32x4, i64x2, f32x4, f64x2 };
  for (const [space, methods] of Object.entries(namespaces)) {
    for (const [name, method] of Object.entries(methods)) {
      if (name === "const" && space !== "v128") continue;
      const value = candidates.map((operands) => attempt(method, operands)).find((v) => v !== undefined);
      samples.push([`${space}.${name}`, value ?? { type: "i32", emit: (code) => code.byte(0xff) }]);
    }
  }
  return samples;
}

/** The value that the method builds, if it is well typed with these operands. */
function attempt(method: unknown, operands: unknown[]): Value | undefined {
  try {
    const value = (method as (...operands: unknown[]) => Value)(...operands);
    return WebAssembly.validate(assemble({ sharedMemory: false }, (f) => f.drop(value))) ? value : undefined;
  } catch {
    return undefined;
  }
}
