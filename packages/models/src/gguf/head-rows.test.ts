import { expect, test } from "vitest";
import { interleaveHalves, restoreHalves } from "./head-rows.js";

test("rows of each head move between half by half and pair by pair", () => {
  // Two heads of four features, a byte a row: h0 has rows 0..3, h1 rows 4..7.
  const halves = Uint8Array.of(0, 1, 2, 3, 4, 5, 6, 7);
  const pairs = interleaveHalves(halves, { numHeads: 2, rowBytes: 1 });
  expect([...pairs]).toEqual([0, 2, 1, 3, 4, 6, 5, 7]);
  expect(restoreHalves(pairs, { numHeads: 2, rowBytes: 1 })).toEqual(halves);
});
