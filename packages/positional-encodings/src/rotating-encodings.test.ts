import { type Device, randn, reference, tensor } from "@heddle/tensor";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { worstDifference, worstGradient } from "../test/compare.js";
import { devices } from "../test/devices.js";
import { applyPositions } from "./position-encoding.js";
import { rotary } from "./rotary.js";
import { multiSectionRotary, rotary2d } from "./rotary-axes.js";
import { rotaryEncoding } from "./rotary-encoding.js";
import { xpos } from "./xpos.js";

const angleOf = (position: number, pair: number, dim: number) => position * 10_000 ** ((-2 * pair) / dim);

/** Turns pairs (i, i + D/2) of one head by given angles. */
function turnHalves(x: readonly number[], angles: readonly number[]): number[] {
  const half = x.length / 2;
  return x.map((value, d) => {
    const angle = angles[d % half] ?? Number.NaN;
    const other = x[(d + half) % x.length] ?? Number.NaN;
    return value * Math.cos(angle) + (d < half ? -other : other) * Math.sin(angle);
  });
}

describe.each(devices)("rotating encodings on $name", ({ create, tolerance }) => {
  let device: Device;
  beforeAll(() => {
    device = create();
  });
  afterAll(() => device.dispose());

  test("rotaryEncoding turns query and key as rotary does", () => {
    const [query, key] = [randn(device, [1, 2, 3, 8], { seed: 1 }), randn(device, [1, 1, 4, 8], { seed: 2 })];
    const queryPositions = tensor(device, Int32Array.of(5, 6, 7));
    const turned = applyPositions(rotaryEncoding({ theta: 500 }), { query, key }, { queryPositions });
    const expected = rotary(query, { theta: 500, positions: queryPositions });
    expect(turned.query.dataSync()).toEqual(expected.dataSync());
    expect(turned.key.dataSync()).toEqual(rotary(key, { theta: 500 }).dataSync());
    expect(turned.bias).toBeUndefined();
  });

  test.each([rotaryEncoding(), xpos()])(
    "queries stand at the end of the keys unless told otherwise",
    (encoding) => {
      const [query, key] = [
        randn(device, [1, 2, 3, 8], { seed: 1 }),
        randn(device, [1, 2, 5, 8], { seed: 2 }),
      ];
      const queryPositions = tensor(device, Int32Array.of(2, 3, 4));
      const keyPositions = tensor(device, Int32Array.of(0, 1, 2, 3, 4));
      const told = applyPositions(encoding, { query, key }, { queryPositions, keyPositions });
      const untold = applyPositions(encoding, { query, key });
      expect(untold.query.dataSync()).toEqual(told.query.dataSync());
      expect(untold.key.dataSync()).toEqual(told.key.dataSync());
      const early = applyPositions(encoding, { query, key }, { queryStart: 0 }).query;
      expect(early.dataSync()).toEqual(encoding.rotateQuery(query).dataSync());
    },
  );

  test("rotary2d turns each half by its own position", () => {
    const x = randn(device, [1, 1, 2, 8], { seed: 1 });
    const positions = tensor(device, Int32Array.of(3, 90, 7, 1), { shape: [2, 2] });
    const out = rotary2d().rotateQuery(x, positions).dataSync();
    const values = Array.from(x.dataSync());
    const expected = [
      [3, 7],
      [90, 1],
    ].flatMap(([first = 0, second = 0], t) =>
      [first, second].flatMap((position, part) =>
        turnHalves(
          values.slice(t * 8 + part * 4, t * 8 + part * 4 + 4),
          [0, 1].map((pair) => angleOf(position, pair, 4)),
        ),
      ),
    );
    expect(worstDifference(out, expected)).toBeLessThan(2 * tolerance);
  });

  test("multiSectionRotary turns each section by its own position, per row of the batch", () => {
    const x = randn(device, [2, 1, 1, 8], { seed: 1 });
    const positions = tensor(device, Int32Array.of(5, 1, 60, 2, 7, 3), { shape: [3, 2, 1] });
    const out = multiSectionRotary({ sections: [1, 2, 1] })
      .rotateKey(x, positions)
      .dataSync();
    const values = Array.from(x.dataSync());
    const expected = [
      [5, 60, 60, 7],
      [1, 2, 2, 3],
    ].flatMap((places, batch) =>
      turnHalves(
        values.slice(batch * 8, batch * 8 + 8),
        places.map((position, pair) => angleOf(position, pair, 8)),
      ),
    );
    expect(worstDifference(out, expected)).toBeLessThan(2 * tolerance);
  });

  test("multiSectionRotary with equal positions is rotary, bit for bit", () => {
    const x = randn(device, [1, 2, 3, 12], { seed: 3 });
    const row = [4, 900, 17];
    const positions = tensor(device, Int32Array.of(...row, ...row, ...row), { shape: [3, 3] });
    const out = multiSectionRotary({ sections: [2, 2, 2] }).rotateQuery(x, positions);
    const plain = rotary(x, { positions: tensor(device, Int32Array.from(row)) });
    expect(out.dataSync()).toEqual(plain.dataSync());
  });

  test.each(["interleaved", "half"] as const)(
    "xpos %s: products equal the formula of the paper",
    (layout) => {
      const D = 6;
      const [query, key] = [
        randn(device, [1, 1, 4, D], { seed: 1 }),
        randn(device, [1, 1, 4, D], { seed: 2 }),
      ];
      const turned = applyPositions(xpos({ layout, scaleBase: 8 }), { query, key });
      const products = turned.query.matmul(turned.key, { transposeB: true }).dataSync();
      const [q, k] = [query.dataSync(), key.dataSync()];
      const expected = Array.from({ length: 16 }, (_, at) => {
        const [n, m] = [Math.floor(at / 4), at % 4];
        return [0, 1, 2].reduce((sum, i) => {
          const [a, b] = layout === "half" ? [i, i + D / 2] : [2 * i, 2 * i + 1];
          const [qa, qb] = [q[n * D + a] ?? 0, q[n * D + b] ?? 0];
          const [ka, kb] = [k[m * D + a] ?? 0, k[m * D + b] ?? 0];
          const angle = angleOf(n - m, i, D);
          const damp = (((2 * i) / D + 0.4) / 1.4) ** ((n - m) / 8);
          const along = qa * ka + qb * kb;
          const across = qa * kb - qb * ka;
          return sum + damp * (along * Math.cos(angle) + across * Math.sin(angle));
        }, 0);
      });
      expect(worstDifference(products, expected)).toBeLessThan(10 * tolerance);
    },
  );

  test("leaks nothing", () => {
    const x = randn(device, [1, 1, 3, 8], { seed: 5 });
    const before = device.memory().buffers;
    xpos().rotateQuery(x).dispose();
    expect(device.memory().buffers).toBe(before);
  });
});

const device = reference();
const x = randn(device, [1, 1, 2, 8], { seed: 1 });

test("gradients are those of central differences", () => {
  const weight = randn(device, [1, 1, 2, 8], { seed: 2 });
  const positions = tensor(device, Int32Array.of(1, 5, 7, 2), { shape: [2, 2] });
  const axes = [rotary2d(), multiSectionRotary({ sections: [1, 3] })].map(
    ({ rotateQuery }) =>
      (input: typeof x) =>
        rotateQuery(input, positions),
  );
  for (const rotate of [...axes, xpos().rotateQuery, xpos().rotateKey]) {
    expect(worstGradient([x], ([input = x]) => rotate(input).add(weight))).toBeLessThan(1e-6);
  }
});

test("errors name the rule, the values and the cure", () => {
  expect(() => rotary2d().rotateQuery(x)).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: rotary2d: positions must be given, one row for each of 2 axes; got none. Pass an int32 tensor [2, seq] or [2, batch, seq].]`,
  );
  const flat = tensor(device, Int32Array.of(1, 2));
  expect(() => rotary2d().rotateQuery(x, flat)).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: rotary2d: positions must be [2, seq] or [2, batch, seq]; got positions [2], x [1, 1, 2, 8]. Give one row of positions an axis.]`,
  );
  const sections = [2, 1];
  expect(() => multiSectionRotary({ sections }).rotateQuery(x, flat)).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: multiSectionRotary: sections must add up to headDim / 2 pairs; got sections [2, 1], headDim 8. Take them from the model's config (mrope_section).]`,
  );
  expect(() => multiSectionRotary({ sections: [0, 4] })).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: multiSectionRotary: sections must be a whole number above 0; got sections 0. Take it from the model's config.]`,
  );
  expect(() => xpos({ scaleBase: 0 })).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: xpos: scaleBase must be a finite number above 0; got scaleBase 0. Take it from the model's config.]`,
  );
});
