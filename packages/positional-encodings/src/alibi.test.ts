import { type Device, reference } from "@heddle/tensor";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { worstDifference } from "../test/compare.js";
import { devices } from "../test/devices.js";
import { readGolden } from "../test/golden/read.js";
import { alibi, alibiSlopes } from "./alibi.js";

const golden = readGolden("alibi.safetensors");
const headCounts = [5, 8, 12, 16];

test.each(headCounts)("the slopes of %i heads equal the golden, in both orders", (numHeads) => {
  const paper = golden.get(`slopes_${numHeads}`).data;
  const mpt = golden.get(`mpt_slopes_${numHeads}`).data;
  expect(worstDifference(alibiSlopes({ numHeads }), paper)).toBeLessThan(1e-7);
  expect(worstDifference(alibiSlopes({ numHeads, order: "mpt" }), mpt)).toBeLessThan(1e-7);
});

describe.each(devices)("alibi on $name", ({ create, tolerance }) => {
  let device: Device;
  beforeAll(() => {
    device = create();
  });
  afterAll(() => device.dispose());

  test.each(headCounts)("the bias of %i heads equals the golden", (numHeads) => {
    const bias = alibi(device, { numHeads }).bias({ queryLen: 10, keyLen: 10 });
    expect(bias.shape).toEqual([1, numHeads, 10, 10]);
    expect(worstDifference(bias.dataSync(), golden.get(`bias_${numHeads}`).data)).toBeLessThan(tolerance);
  });

  test("a decoding step has the last row", () => {
    const encoding = alibi(device, { numHeads: 5 });
    const all = encoding.bias({ queryLen: 7, keyLen: 7 });
    const step = encoding.bias({ queryLen: 1, keyLen: 7 });
    expect(step.dataSync()).toEqual(all.narrow(2, 6, 7).dataSync());
  });

  test("symmetric: keys after the query are as far as those before", () => {
    const bias = alibi(device, { numHeads: 1, direction: "symmetric" }).bias({ queryLen: 3, keyLen: 3 });
    const m = 1 / 256;
    expect(worstDifference(bias.dataSync(), [0, -m, -2 * m, -m, 0, -m, -2 * m, -m, 0])).toBe(0);
  });

  test("leaks nothing", () => {
    const before = device.memory().buffers;
    alibi(device, { numHeads: 3 }).bias({ queryLen: 2, keyLen: 4 }).dispose();
    expect(device.memory().buffers).toBe(before);
  });
});

test("errors name the rule, the values and the cure", () => {
  const device = reference();
  expect(() => alibi(device, { numHeads: 0 })).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: alibiSlopes: numHeads must be a whole number above 0; got numHeads 0. Take it from the model's config.]`,
  );
  expect(() => alibi(device, { numHeads: 2, maxBias: -8 })).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: alibiSlopes: maxBias must be a finite number above 0; got maxBias -8. Take it from the model's config.]`,
  );
  const encoding = alibi(device, { numHeads: 2 });
  expect(() => encoding.bias({ queryLen: 0, keyLen: 4 })).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: alibi: queryLen must be a whole number above 0; got queryLen 0. Take it from the model's config.]`,
  );
  expect(() => encoding.bias({ queryLen: 1, keyLen: 4, queryStart: 0.5 })).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: alibi: queryStart must be a whole number of tokens; got queryStart 0.5. Leave it out if queries and keys end together.]`,
  );
});
