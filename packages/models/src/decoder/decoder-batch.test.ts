import { describe, expect, test } from "vitest";
import { type DecoderBatch, isReordering, piecesOf } from "./decoder-batch.js";

/** A batch of stretches: slot and number of tokens of each; the last token of each is wanted. */
function batchOf(stretches: readonly (readonly [slot: number, length: number])[]): DecoderBatch {
  const rows = stretches.flatMap(([slot, length]) =>
    Array.from({ length }, (_, position) => ({ slot, position })),
  );
  let end = 0;
  return {
    tokens: Int32Array.from(rows.keys()),
    positions: Int32Array.from(rows, ({ position }) => position),
    slots: Int32Array.from(rows, ({ slot }) => slot),
    outputs: Int32Array.from(stretches, ([, length]) => {
      end += length;
      return end - 1;
    }),
  };
}

const shapes = (batch: DecoderBatch, maxRows: number) =>
  piecesOf(batch, maxRows).map(
    ({ rowLength, batch: piece }) => `${piece.tokens.length / rowLength}x${rowLength}`,
  );

describe("how a batch is cut into runs", () => {
  test("a prompt becomes chunks of two lengths and single rows", () => {
    expect(shapes(batchOf([[0, 300]]), 128)).toEqual(["1x128", "1x128", "1x32", "12x1"]);
    expect(shapes(batchOf([[0, 7]]), 128)).toEqual(["7x1"]);
    expect(shapes(batchOf([[0, 20]]), 8)).toEqual(["1x8", "1x8", "4x1"]);
  });

  test("what is left of several sequences shares runs", () => {
    expect(
      shapes(
        batchOf([
          [3, 1],
          [0, 33],
          [1, 1],
          [2, 5],
        ]),
        128,
      ),
    ).toEqual(["1x32", "8x1"]);
    expect(shapes(batchOf(Array.from({ length: 20 }, (_, slot) => [slot, 1] as const)), 16)).toEqual([
      "16x1",
      "4x1",
    ]);
  });

  test("every token is fed once, each slot in order, and every wanted row is found", () => {
    const batch = batchOf([
      [2, 45],
      [0, 1],
      [1, 140],
      [3, 9],
    ]);
    const seen = new Map<number, number>();
    const wanted = new Map<number, number>();
    for (const { batch: piece, wanted: places } of piecesOf(batch, 64)) {
      for (const [i, slot] of piece.slots.entries()) {
        expect(piece.positions[i]).toBe(seen.get(slot) ?? 0);
        seen.set(slot, (seen.get(slot) ?? 0) + 1);
      }
      for (const [at, place] of places.entries())
        wanted.set(place, piece.tokens[piece.outputs[at] ?? -1] ?? -1);
    }
    expect(Object.fromEntries(seen)).toEqual({ 0: 1, 1: 140, 2: 45, 3: 9 });
    expect([...wanted.keys()].sort().map((place) => wanted.get(place))).toEqual(Array.from(batch.outputs));
  });
});

test("slots that keep what they hold need no copying; sources that are no slots are refused", () => {
  expect(isReordering(Int32Array.of(0, 1, 2), 3)).toBe(false);
  expect(isReordering(Int32Array.of(0, 0, 2), 3)).toBe(true);
  expect(() => isReordering(Int32Array.of(0, 3, 1), 3)).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: reorderSlots: sources must name one of 3 slots for each slot; got 0, 3, 1. Give each slot itself to keep it.]`,
  );
  expect(() => isReordering(Int32Array.of(0, 1), 3)).toThrow("got 0, 1.");
});
