import fc from "fast-check";
import { expect, test } from "vitest";
import { firstUnit } from "./control.js";
import { workerSource } from "./worker-source.js";

const stages = fc.record({
  units: fc.integer({ min: 1, max: 100_000 }),
  chunks: fc.integer({ min: 1, max: 1000 }),
  isTapered: fc.boolean(),
});

function sizesOf({ units, chunks, isTapered }: { units: number; chunks: number; isTapered: boolean }) {
  const bounds = Array.from({ length: chunks + 1 }, (_, i) => firstUnit(units, { chunks, isTapered }, i));
  return { bounds, sizes: bounds.slice(1).map((bound, i) => bound - (bounds[i] ?? 0)) };
}

test("chunks follow each other from the first unit to the last", () => {
  fc.assert(
    fc.property(stages, (stage) => {
      const { bounds, sizes } = sizesOf(stage);
      expect([bounds[0], bounds.at(-1)]).toEqual([0, stage.units]);
      expect(Math.min(...sizes)).toBeGreaterThanOrEqual(0);
    }),
  );
});

test("chunks are of one size, or each at most as large as the one before, but for rounding", () => {
  fc.assert(
    fc.property(stages, (stage) => {
      const { sizes } = sizesOf(stage);
      for (const [i, size] of sizes.slice(1).entries()) {
        const before = sizes[i] ?? 0;
        expect(size - before).toBeLessThanOrEqual(1);
        if (!stage.isTapered || stage.units <= stage.chunks) expect(before - size).toBeLessThanOrEqual(1);
      }
    }),
  );
  // The shares of eight chunks are 15, 13, ..., 1 of 64.
  expect(sizesOf({ units: 640, chunks: 8, isTapered: true }).sizes).toEqual([
    150, 130, 110, 90, 70, 50, 30, 10,
  ]);
  expect(sizesOf({ units: 8, chunks: 8, isTapered: true }).sizes).toEqual([1, 1, 1, 1, 1, 1, 1, 1]);
});

test("a worker cuts as the calling thread does", () => {
  const [text = ""] = /function firstUnit[\s\S]*?\n}/.exec(workerSource({ spinMs: 0 })) ?? [];
  const ofWorker = new Function(`${text}; return firstUnit;`)() as typeof firstUnit;
  fc.assert(
    fc.property(stages, ({ units, ...stage }) => {
      for (let chunk = 0; chunk <= stage.chunks; chunk++)
        expect(ofWorker(units, stage, chunk)).toBe(firstUnit(units, stage, chunk));
    }),
    { numRuns: 50 },
  );
});
