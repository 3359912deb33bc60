import fc from "fast-check";
import { expect, test } from "vitest";
import { ALIGNMENT, LinearMemory } from "./memory.js";

type Step =
  | { readonly kind: "alloc"; readonly bytes: number }
  | { readonly kind: "free"; readonly pick: number };

const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    fc.record({ kind: fc.constant("alloc" as const), bytes: fc.oneof(fc.nat(300), fc.nat(2_000_000)) }),
    fc.record({ kind: fc.constant("free" as const), pick: fc.nat() }),
  ),
  { maxLength: 120 },
);

interface Live {
  readonly offset: number;
  readonly bytes: number;
}

function checkDisjoint(memory: LinearMemory, live: readonly Live[]): void {
  const spans = [
    ...live.map(({ offset, bytes }) => ({ from: offset, to: offset + Math.max(1, bytes) })),
    ...memory.freeBlocks().map(({ offset, size }) => ({ from: offset, to: offset + size })),
  ].sort((a, b) => a.from - b.from);
  for (const [i, span] of spans.entries()) {
    expect(span.from).toBeGreaterThanOrEqual(spans[i - 1]?.to ?? ALIGNMENT);
  }
  expect(spans.at(-1)?.to ?? 0).toBeLessThanOrEqual(memory.memory.buffer.byteLength);
}

test("blocks are aligned, never overlap, and all come back as one", () => {
  fc.assert(
    fc.property(steps, (script) => {
      const memory = new LinearMemory();
      const live: Live[] = [];
      for (const step of script) {
        if (step.kind === "alloc") {
          const offset = memory.alloc(step.bytes);
          expect(offset % ALIGNMENT).toBe(0);
          live.push({ offset, bytes: step.bytes });
        } else if (live.length > 0) {
          const [block] = live.splice(step.pick % live.length, 1);
          if (block !== undefined) memory.free(block.offset);
        }
        const bytes = live.reduce((sum, block) => sum + block.bytes, 0);
        expect(memory.report()).toMatchObject({ buffers: live.length, bytes });
      }
      checkDisjoint(memory, live);
      for (const { offset } of live) memory.free(offset);
      expect(memory.report()).toMatchObject({ buffers: 0, bytes: 0 });
      const free = memory.freeBlocks();
      expect(free.map(({ offset }) => offset)).toEqual([ALIGNMENT]);
      expect(free[0]?.size).toBeGreaterThan(memory.memory.buffer.byteLength - 100_000);
    }),
    { numRuns: 60 },
  );
});

test("a block that came back is used again before the memory grows", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(100_000), { minLength: 1, maxLength: 40 }), (sizes) => {
      const memory = new LinearMemory();
      const first = sizes.map((bytes) => memory.alloc(bytes));
      const grown = memory.memory.buffer.byteLength;
      for (const offset of first) memory.free(offset);
      for (const bytes of sizes) memory.alloc(bytes);
      expect(memory.memory.buffer.byteLength).toBe(grown);
    }),
    { numRuns: 40 },
  );
});
