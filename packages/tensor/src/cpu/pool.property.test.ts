import fc from "fast-check";
import { expect, test } from "vitest";
import { assemble } from "../wasm/assembler.js";
import { i32 } from "../wasm/scalar.js";
import type { Local } from "../wasm/value.js";
import type { KernelModule } from "./kernel.js";
import { LinearMemory } from "./memory.js";
import { Pool, type PoolArgument, type PoolStep } from "./pool.js";

const element = (base: Local<"i32">, i: Parameters<typeof i32.shl>[0]) => i32.add(base, i32.shl(i, 2));

/** to[i] = 3 to[i] + from[n - 1 - i]: every unit reads what another thread may have written in the step before. */
const mirrorAdd: KernelModule = {
  key: "mirror-add",
  emit: () =>
    assemble({ sharedMemory: true }, (f) => {
      const [from, to, n] = [f.param("i32"), f.param("i32"), f.param("i32")];
      const [begin, end] = [f.param("i32"), f.param("i32")];
      f.for(begin, end, 1, (i) => {
        const mirrored = i32.load(element(from, i32.sub(i32.sub(n, 1), i)));
        const at = f.let(element(to, i));
        f.store("i32", at, i32.add(i32.mul(i32.load(at), 3), mirrored));
      });
    }),
};

interface Script {
  readonly n: number;
  /** Which of two arrays each step writes, and its grain. */
  readonly steps: readonly { readonly writesFirst: boolean; readonly grain: number }[];
}

const script: fc.Arbitrary<Script> = fc.record({
  n: fc.integer({ min: 1, max: 1500 }),
  steps: fc.array(fc.record({ writesFirst: fc.boolean(), grain: fc.integer({ min: 1, max: 1500 }) }), {
    minLength: 1,
    maxLength: 25,
  }),
});

function expected({ n, steps }: Script): { x: Int32Array; y: Int32Array } {
  const x = Int32Array.from({ length: n }, (_, i) => i * 7);
  const y = Int32Array.from({ length: n }, (_, i) => ~i);
  for (const { writesFirst } of steps) {
    const [from, to] = writesFirst ? [y, x] : [x, y];
    for (let i = 0; i < n; i++) to[i] = Math.imul(to[i] ?? 0, 3) + (from[n - 1 - i] ?? 0);
  }
  return { x, y };
}

function planSteps({ n, steps }: Script): PoolStep[] {
  const slot = (index: number): PoolArgument => ({ kind: "slot", slot: index, byteOffset: 0 });
  return steps.map(({ writesFirst, grain }) => ({
    module: mirrorAdd,
    args: [slot(writesFirst ? 1 : 0), slot(writesFirst ? 0 : 1), { kind: "value", value: n }],
    units: n,
    grain,
  }));
}

test.each([
  { threads: 2, spinMs: 0.5 },
  { threads: 5, spinMs: 0 },
])(
  "a step sees all of the step before it: $threads threads, $spinMs ms of spinning",
  ({ threads, spinMs }) => {
    const memory = new LinearMemory({ isShared: true });
    const pool = new Pool(memory, { threads, spinMs });
    const [xAt, yAt] = [memory.alloc(6000), memory.alloc(6000)];
    try {
      fc.assert(
        fc.property(script, (plan) => {
          const prepared = pool.prepare(planSteps(plan), 2);
          const wanted = expected(plan);
          const x = new Int32Array(memory.memory.buffer, xAt, plan.n);
          const y = new Int32Array(memory.memory.buffer, yAt, plan.n);
          for (let run = 0; run < 20; run++) {
            for (let i = 0; i < plan.n; i++) [x[i], y[i]] = [i * 7, ~i];
            pool.run(prepared, [xAt, yAt]);
            expect(x.every((value, i) => value === wanted.x[i])).toBe(true);
            expect(y.every((value, i) => value === wanted.y[i])).toBe(true);
          }
          pool.drop(prepared);
        }),
        { numRuns: 60 },
      );
    } finally {
      pool.dispose();
    }
  },
);
