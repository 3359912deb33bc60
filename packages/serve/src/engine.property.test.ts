import fc from "fast-check";
import { expect, it } from "vitest";
import { answerAlone } from "../reference/engine.js";
import { byteTokenizer, createFakeDecoder, createFakeEngine, endId } from "../test/fake-model.js";
import { collect } from "./collect.js";
import type { Engine } from "./engine.js";
import type { GenerationOptions } from "./request.js";

const request = fc.record({
  prompt: fc.string({ maxLength: 60 }),
  maxTokens: fc.integer({ min: 1, max: 30 }),
  temperature: fc.constantFrom(0, 0.8, 1.3),
  seed: fc.nat(),
  stop: fc.constantFrom<string[]>([], ["a"], ["th", "q"]),
  startsAfterTurns: fc.nat(12),
  /** Number of tokens after which the reader leaves; many never do. */
  leavesAfter: fc.option(fc.nat(10), { nil: undefined }),
});

const limits = fc.record({
  numSlots: fc.integer({ min: 1, max: 5 }),
  spareTokens: fc.integer({ min: 1, max: 20 }),
  prefillChunk: fc.integer({ min: 1, max: 16 }),
});

async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
}

async function leaveAfter(engine: Engine, options: GenerationOptions, numTokens: number): Promise<void> {
  let seen = 0;
  for await (const _ of engine.add(options)) if (++seen > numTokens) break;
}

it("gives every request the answer that it would get alone, whatever runs beside it", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(request, { minLength: 1, maxLength: 12 }), limits, async (requests, limit) => {
      const { numSlots, spareTokens, prefillChunk } = limit;
      const { engine } = createFakeEngine(
        { numSlots },
        { maxTokensPerStep: numSlots + spareTokens, prefillChunk },
      );
      await Promise.all(
        requests.map(async ({ startsAfterTurns, leavesAfter, ...options }) => {
          await turns(startsAfterTurns);
          if (leavesAfter !== undefined) return leaveAfter(engine, options, leavesAfter);
          const answer = await collect(engine.add(options));
          const alone = await answerAlone(
            { decoder: createFakeDecoder(), tokenizer: byteTokenizer, endOfTextIds: [endId] },
            options,
          );
          expect(answer.events.map((event) => event.id)).toEqual(alone.ids);
          expect([answer.text, answer.finishReason]).toEqual([alone.text, alone.finishReason]);
        }),
      );
      await engine.drain();
      expect(engine.stats()).toMatchObject({
        queued: 0,
        running: 0,
        slots: { used: 0 },
        cacheTokens: { used: 0 },
      });
    }),
    { numRuns: 60 },
  );
});
