import { expect, test } from "vitest";
import { createDocumentStream } from "./document-stream.js";
import { createHeldOut } from "./held-out.js";
import { textArray } from "./text-source.js";

const texts = Array.from({ length: 40 }, (_, at) => `text ${at}`);

async function take(
  stream: { next(): Promise<{ text: string } | undefined> },
  count: number,
): Promise<string[]> {
  const taken: string[] = [];
  for (let at = 0; at < count; at++) {
    const document = await stream.next();
    if (document === undefined) break;
    taken.push(document.text);
  }
  return taken;
}

test("every epoch has every document once, in another order", async () => {
  const stream = createDocumentStream({ source: textArray(texts), shuffleBuffer: 16, seed: 3 });
  const epochs = [await take(stream, 40), await take(stream, 40)];
  for (const epoch of epochs) expect([...epoch].sort()).toEqual([...texts].sort());
  expect(epochs[0]).not.toEqual(texts);
  expect(epochs[0]).not.toEqual(epochs[1]);
});

test("the seed decides the order; a buffer of one keeps it", async () => {
  const order = (seed: number, shuffleBuffer: number) =>
    take(createDocumentStream({ source: textArray(texts), shuffleBuffer, seed }), 40);
  expect(await order(1, 8)).toEqual(await order(1, 8));
  expect(await order(1, 8)).not.toEqual(await order(2, 8));
  expect(await order(1, 1)).toEqual(texts);
});

test("a position, through JSON, goes on exactly, wherever it was taken", async () => {
  const create = () =>
    createDocumentStream({ source: textArray(texts), shuffleBuffer: 7, seed: 5, epochs: 3 });
  const whole = await take(create(), 120);
  expect(whole.length).toBe(120);
  for (let at = 0; at <= 120; at += 1) {
    const first = create();
    await take(first, at);
    const position = JSON.parse(JSON.stringify(first.position()));
    const second = create();
    await second.seek(position);
    expect(await take(second, 121), `after ${at}`).toEqual(whole.slice(at));
  }
});

test("held-out documents are a fixed part, and never met in training", async () => {
  const isHeldOut = createHeldOut({ fraction: 0.2, seed: 1 });
  const many = Array.from({ length: 2000 }, (_, at) => `document ${at}`);
  const heldOut = many.filter(isHeldOut);
  expect(heldOut.length / many.length).toBeGreaterThan(0.16);
  expect(heldOut.length / many.length).toBeLessThan(0.24);
  expect(many.filter(createHeldOut({ fraction: 0.2, seed: 2 }))).not.toEqual(heldOut);
  const stream = createDocumentStream({
    source: textArray(many),
    accepts: (text) => !isHeldOut(text),
    epochs: 1,
  });
  const trained = await take(stream, 3000);
  expect(trained.length).toBe(many.length - heldOut.length);
  expect(trained.some(isHeldOut)).toBe(false);
});

test("errors", async () => {
  const source = textArray([]);
  expect(() => createDocumentStream({ source, shuffleBuffer: 0 })).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: createDocumentStream: shuffleBuffer must be a whole number >= 1; got 0. Use 1 to keep the order.]`,
  );
  await expect(createDocumentStream({ source }).next()).rejects.toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: createDocumentStream: the source must hold a document to use; got none in a whole epoch. Check the files, the separator and the held-out fraction.]`,
  );
  expect(() => createHeldOut({ fraction: 1, seed: 0 })).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: createHeldOut: fraction must be in 0 <= fraction < 1; got 1. Use about 0.01.]`,
  );
});
