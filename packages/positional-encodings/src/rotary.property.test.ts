import { type Device, randn, tensor } from "@heddle/tensor";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { devices } from "../test/devices.js";
import { ropeFrequencies } from "./rope-frequencies.js";
import { rotary } from "./rotary.js";

const cases = fc.record({
  pairs: fc.integer({ min: 1, max: 20 }),
  rest: fc.integer({ min: 0, max: 5 }),
  layout: fc.constantFrom("half" as const, "interleaved" as const),
  from: fc.integer({ min: 0, max: 1_000_000 }),
  distance: fc.integer({ min: 0, max: 5000 }),
  shift: fc.integer({ min: 0, max: 1_000_000 }),
  seed: fc.integer({ min: 0, max: 1000 }),
});

const dot = (a: ArrayLike<number>, b: ArrayLike<number>) =>
  Array.from(a).reduce((sum, value, i) => sum + value * (b[i] ?? Number.NaN), 0);

describe.each(devices)("rotary laws on $name", ({ create, tolerance }) => {
  let device: Device;
  beforeAll(() => {
    device = create();
  });
  afterAll(() => device.dispose());

  const rotateAt = (
    seed: number,
    position: number,
    { pairs, rest, layout }: { pairs: number; rest: number; layout: "half" | "interleaved" },
  ) => {
    const x = randn(device, [1, 1, 1, 2 * pairs + rest], { seed });
    const positions = tensor(device, Int32Array.of(position));
    const frequencies = ropeFrequencies({ rotaryDim: 2 * pairs });
    return { before: x.dataSync(), after: rotary(x, { frequencies, positions, layout }).dataSync() };
  };

  test("a rotation keeps the norm", () => {
    fc.assert(
      fc.property(cases, (which) => {
        const { before, after } = rotateAt(which.seed, which.from, which);
        expect(Math.abs(dot(after, after) / dot(before, before) - 1)).toBeLessThan(tolerance);
      }),
      { numRuns: 60 },
    );
  });

  test("products of rotated vectors depend on the distance only", () => {
    fc.assert(
      fc.property(cases, (which) => {
        const score = (start: number) => {
          const q = rotateAt(which.seed, start + which.distance, which).after;
          const k = rotateAt(which.seed + 1, start, which).after;
          return dot(q, k);
        };
        const size = 2 * which.pairs + which.rest;
        expect(Math.abs(score(which.from) - score(which.shift))).toBeLessThan(tolerance * 10 * size);
      }),
      { numRuns: 60 },
    );
  });
});
