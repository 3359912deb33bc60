import fc from "fast-check";
import { test } from "vitest";
import { expectExact, multiply } from "./testing/multiply.js";

const extent = fc.oneof(fc.nat(40), fc.integer({ min: 1, max: 150 }));
const dtype = fc.constantFrom("f32" as const, "bf16" as const, "f16" as const);
const features = fc.record({
  relaxedSimd: fc.boolean(),
  revectorized: fc.boolean(),
  int8Dot: fc.constant(false),
  sharedMemory: fc.constant(false),
  threads: fc.integer({ min: 1, max: 9 }),
});
/** Per batch axis: its extent, and which operands repeat along it. */
const batch = fc.array(
  fc.record({ extent: fc.integer({ min: 1, max: 3 }), repeats: fc.constantFrom("none", "a", "b") }),
  { maxLength: 3 },
);

test("equals the product in f64 for every shape, layout, dtype, batch and machine", () => {
  const problem = fc.record({
    m: extent,
    n: extent,
    k: fc.oneof(extent, fc.integer({ min: 250, max: 540 })),
    transposeA: fc.boolean(),
    transposeB: fc.boolean(),
    dtype,
    batch,
    features,
    maxPackedBytes: fc.constantFrom(4096, 100_000, 1e9),
    rangeUnits: fc.constantFrom(1, 3, 1e9),
  });
  fc.assert(
    fc.property(problem, ({ m, n, k, transposeA, transposeB, ...rest }) => {
      const batchOf = (operand: string) =>
        rest.batch.map((axis) => (axis.repeats === operand ? 1 : axis.extent));
      const a = { shape: [...batchOf("a"), ...(transposeA ? [k, m] : [m, k])], dtype: rest.dtype };
      const b = { shape: [...batchOf("b"), ...(transposeB ? [n, k] : [k, n])], dtype: rest.dtype };
      const { maxPackedBytes, rangeUnits } = rest;
      const options = { transposeA, transposeB, maxPackedBytes };
      expectExact(multiply({ a, b, ...options }, rest.features, { rangeUnits }));
    }),
    { numRuns: 50 },
  );
});
