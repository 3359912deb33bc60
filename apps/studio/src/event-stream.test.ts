import fc from "fast-check";
import { expect, it } from "vitest";
import { readEvents } from "./event-stream.js";

async function read(chunks: readonly Uint8Array<ArrayBuffer>[]): Promise<unknown[]> {
  const body = new ReadableStream<Uint8Array<ArrayBuffer>>({
    start(controller) {
      for (const chunk of chunks) controller.enqueue(chunk);
      controller.close();
    },
  });
  const values: unknown[] = [];
  for await (const value of readEvents(body)) values.push(value);
  return values;
}

/** Cuts bytes where told. */
function cut(bytes: Uint8Array<ArrayBuffer>, at: readonly number[]): Uint8Array<ArrayBuffer>[] {
  const places = [0, ...at.map((place) => place % (bytes.length + 1)), bytes.length].sort((a, b) => a - b);
  return places.slice(1).map((end, i) => bytes.slice(places[i], end));
}

it("reads the same events wherever the network cuts the stream", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.jsonValue()), fc.array(fc.nat()), async (values, places) => {
      const text = values.map((value) => `data: ${JSON.stringify(value)}\n\n`).join("");
      const expected: unknown = JSON.parse(JSON.stringify(values));
      expect(await read(cut(new TextEncoder().encode(text), places))).toEqual(expected);
    }),
  );
});

it("ends at [DONE] and skips comments", async () => {
  const text = ': hello\n\ndata: {"text":"é"}\n\ndata: [DONE]\n\ndata: 3\n\n';
  expect(await read([new TextEncoder().encode(text)])).toEqual([{ text: "é" }]);
});
