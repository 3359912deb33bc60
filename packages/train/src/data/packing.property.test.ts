import fc from "fast-check";
import { expect, test } from "vitest";
import { createDocumentStream } from "./document-stream.js";
import { createPackedBatches, type HostBatch } from "./packed-batches.js";
import { textArray } from "./text-source.js";

const encode = (text: string) => Array.from(text, (character) => character.charCodeAt(0));

const cases = fc.record({
  texts: fc.array(fc.string({ unit: fc.constantFrom("a", "b", "c"), maxLength: 9 }), {
    minLength: 1,
    maxLength: 12,
  }),
  shuffleBuffer: fc.integer({ min: 1, max: 6 }),
  seed: fc.integer({ min: 0, max: 1000 }),
  epochs: fc.integer({ min: 1, max: 3 }),
  rows: fc.integer({ min: 1, max: 3 }),
  seqLen: fc.integer({ min: 1, max: 7 }),
  stopAfter: fc.integer({ min: 0, max: 6 }),
});

async function rest(batches: { next(): Promise<HostBatch | undefined> }): Promise<number[][]> {
  const rows: number[][] = [];
  for (let batch = await batches.next(); batch !== undefined; batch = await batches.next()) {
    for (let row = 0; row < batch.rows; row++)
      rows.push([...batch.tokens.subarray(row * batch.columns, (row + 1) * batch.columns)]);
  }
  return rows;
}

test("rows laid end to end are the documents of each epoch, and a saved position goes on with the same rows", async () => {
  await fc.assert(
    fc.asyncProperty(cases, async ({ texts, rows, seqLen, stopAfter, ...order }) => {
      const create = () =>
        createPackedBatches({
          documents: createDocumentStream({ source: textArray(texts), ...order }),
          encode,
          endOfText: 0,
          rows,
          seqLen,
        });
      const all = await rest(create());
      const stream = all.flatMap((row, at) => (at === 0 ? row : row.slice(1)));
      const total = order.epochs * (texts.join("").length + texts.length);
      expect(stream.length).toBe(total < seqLen + 1 ? 0 : total - ((total - 1) % seqLen));
      // What is whole before the cut is a document; each epoch holds each as often as the source does.
      const whole = String.fromCharCode(...stream)
        .split("\0")
        .slice(0, -1);
      for (let epoch = 0; (epoch + 1) * texts.length <= whole.length; epoch++)
        expect(whole.slice(epoch * texts.length, (epoch + 1) * texts.length).sort()).toEqual(
          [...texts].sort(),
        );
      const first = create();
      const seen: HostBatch[] = [];
      while (seen.length < stopAfter) {
        const batch = await first.next();
        if (batch === undefined) break;
        seen.push(batch);
      }
      const second = create();
      await second.seek(JSON.parse(JSON.stringify(first.position())));
      expect(await rest(second)).toEqual(await rest(first));
    }),
    { numRuns: 300 },
  );
});
