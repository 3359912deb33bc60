import fc from "fast-check";
import { expect, test } from "vitest";
import { firstUnit, placeOf } from "./control.js";
import { workerSource } from "./worker-source.js";

interface CutStage {
  readonly units: number;
  readonly chunks: number;
  readonly isTapered: boolean;
  readonly parts: number;
}

const stages: fc.Arbitrary<CutStage> = fc
  .record({
    units: fc.integer({ min: 1, max: 100_000 }),
    each: fc.integer({ min: 1, max: 100 }),
    isTapered: fc.boolean(),
    parts: fc.integer({ min: 1, max: 10 }),
  })
  .map(({ each, ...stage }) => ({ ...stage, chunks: each * stage.parts }));

function sizesOf({ units, ...stage }: CutStage) {
  const bounds = Array.from({ length: stage.chunks + 1 }, (_, i) => firstUnit(units, stage, i));
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

test("in a part chunks are of one size, or each at most as large as the one before, but for rounding", () => {
  fc.assert(
    fc.property(stages, (stage) => {
      const { sizes } = sizesOf(stage);
      for (const [i, size] of sizes.slice(1).entries()) {
        if ((i + 1) % (stage.chunks / stage.parts) === 0) continue;
        const before = sizes[i] ?? 0;
        expect(size - before).toBeLessThanOrEqual(1);
        if (!stage.isTapered || stage.units <= stage.chunks) expect(before - size).toBeLessThanOrEqual(1);
      }
    }),
  );
  // The shares of eight chunks are 15, 13, ..., 1 of 64, those of four in each of two parts 7, 5, 3, 1 of 32.
  const stage = { units: 640, chunks: 8, isTapered: true };
  expect(sizesOf({ ...stage, parts: 1 }).sizes).toEqual([150, 130, 110, 90, 70, 50, 30, 10]);
  expect(sizesOf({ ...stage, parts: 2 }).sizes).toEqual([140, 100, 60, 20, 140, 100, 60, 20]);
  expect(sizesOf({ ...stage, units: 8, parts: 1 }).sizes).toEqual([1, 1, 1, 1, 1, 1, 1, 1]);
});

test("every place is taken once, the parts in turns and each in order", () => {
  fc.assert(
    fc.property(stages, (stage) => {
      const each = stage.chunks / stage.parts;
      const places = Array.from({ length: stage.chunks }, (_, taken) => placeOf(stage, taken));
      expect([...places].sort((a, b) => a - b)).toEqual([...places.keys()]);
      for (const [taken, place] of places.entries())
        expect([Math.floor(place / each), place % each]).toEqual([
          taken % stage.parts,
          Math.floor(taken / stage.parts),
        ]);
    }),
  );
});

test("a worker cuts as the calling thread does", () => {
  const source = workerSource({ spinMs: 0 });
  const ofWorker = <F>(name: string) => {
    const [text = ""] = new RegExp(`function ${name}[\\s\\S]*?\\n}`).exec(source) ?? [];
    return new Function(`${text}; return ${name};`)() as F;
  };
  const cut = ofWorker<typeof firstUnit>("firstUnit");
  const place = ofWorker<typeof placeOf>("placeOf");
  fc.assert(
    fc.property(stages, ({ units, ...stage }) => {
      for (let chunk = 0; chunk <= stage.chunks; chunk++) {
        expect(cut(units, stage, chunk)).toBe(firstUnit(units, stage, chunk));
        expect(place(stage, chunk)).toBe(placeOf(stage, chunk));
      }
    }),
    { numRuns: 50 },
  );
});
