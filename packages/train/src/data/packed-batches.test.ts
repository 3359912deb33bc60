import { expect, test } from "vitest";
import { createDocumentStream } from "./document-stream.js";
import { createPackedBatches } from "./packed-batches.js";
import { textArray } from "./text-source.js";

const encode = (text: string) => Array.from(text, (character) => character.charCodeAt(0));

function create(texts: readonly string[], options: { rows: number; seqLen: number; epochs?: number }) {
  const documents = createDocumentStream({
    source: textArray(texts),
    shuffleBuffer: 3,
    seed: 1,
    ...(options.epochs === undefined ? {} : { epochs: options.epochs }),
  });
  return createPackedBatches({ documents, encode, endOfText: 0, rows: options.rows, seqLen: options.seqLen });
}

test("rows overlap by one token, so that each token is predicted once", async () => {
  const batches = create(["abc", "", "defgh"], { rows: 2, seqLen: 3, epochs: 1 });
  const rows: number[][] = [];
  for (let batch = await batches.next(); batch !== undefined; batch = await batches.next()) {
    expect(batch.columns).toBe(4);
    expect(batch.tokens.length).toBe(batch.rows * 4);
    for (let row = 0; row < batch.rows; row++) rows.push([...batch.tokens.subarray(row * 4, row * 4 + 4)]);
  }
  // 3 documents of 3, 0 and 5 characters and an end each: 11 tokens, 3 rows of 3 predictions and a rest.
  expect(rows.length).toBe(3);
  const stream = rows.flatMap((row, at) => (at === 0 ? row : row.slice(1)));
  const text = String.fromCharCode(...stream).split("\0");
  expect(text.filter((part) => ["abc", "", "defgh"].includes(part)).length).toBeGreaterThanOrEqual(2);
  for (const [at, row] of rows.entries()) if (at > 0) expect(row[0]).toBe(rows[at - 1]?.[3]);
});

test("a position, through JSON, goes on exactly", async () => {
  const texts = Array.from({ length: 9 }, (_, at) => "word ".repeat(at * at));
  const next = async (batches: ReturnType<typeof create>) => [...((await batches.next())?.tokens ?? [])];
  const whole = create(texts, { rows: 2, seqLen: 11 });
  for (let at = 0; at < 60; at++) {
    const position = JSON.parse(JSON.stringify(whole.position()));
    const other = create(texts, { rows: 2, seqLen: 11 });
    await other.seek(position);
    const expected = await next(whole);
    expect(await next(other)).toEqual(expected);
    const [first, second] = [await next(other), await next(other)];
    expect(first.length + second.length).toBe(48);
  }
});

test("sizes that cannot be", () => {
  expect(() => create(["a"], { rows: 0, seqLen: 3 })).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: createPackedBatches: rows must be a whole number >= 1; got 0. Pass a greater one.]`,
  );
});
