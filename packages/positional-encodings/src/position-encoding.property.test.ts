import { type Device, randn, type Tensor, tensor } from "@heddle/tensor";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { worstDifference } from "../test/compare.js";
import { devices } from "../test/devices.js";
import { alibi } from "./alibi.js";
import { deberta } from "./deberta.js";
import { dynamicPositionBias } from "./dynamic-position-bias.js";
import { fire } from "./fire.js";
import { kerple } from "./kerple.js";
import { applyPositions, type PositionEncoding } from "./position-encoding.js";
import { multiSectionRotary, rotary2d } from "./rotary-axes.js";
import { rotaryEncoding } from "./rotary-encoding.js";
import { sandwich } from "./sandwich.js";
import { shaw } from "./shaw.js";
import { t5Bias } from "./t5-bias.js";
import { transformerXl } from "./transformer-xl.js";
import { tupe } from "./tupe.js";
import { xlnet } from "./xlnet.js";
import { xpos } from "./xpos.js";

const [H, D] = [2, 4];

/** Encodings whose scores know positions by their distance only, for texts of up to 16 tokens. */
const relative: Readonly<Record<string, (weight: (...shape: number[]) => Tensor) => PositionEncoding>> = {
  alibi: (weight) => alibi(weight(1).device, { numHeads: H }),
  t5Bias: (weight) => t5Bias(weight(8, H), { numBuckets: 8, maxDistance: 20 }),
  kerple: (weight) => kerple({ scale: weight(H).square(), rate: weight(H).square() }),
  sandwich: (weight) => sandwich(weight(1).device, { numHeads: H, dim: 8 }),
  dynamicPositionBias: (weight) => dynamicPositionBias([{ weight: weight(H, 1), bias: weight(H) }]),
  shaw: (weight) => shaw(weight(7, D)),
  deberta: (weight) => deberta({ relativeKeys: weight(H, 8, D), relativeQueries: weight(H, 8, D) }),
  transformerXl: (weight) =>
    transformerXl({
      contentBias: weight(H, D),
      positionBias: weight(H, D),
      keyProjection: weight(H, D, 6),
    }),
  xlnet: (weight) =>
    xlnet(
      {
        contentBias: weight(H, D),
        positionBias: weight(H, D),
        segmentBias: weight(H, D),
        segmentEmbedding: weight(2, H, D),
      },
      { relativeKeys: weight(H, 40, D), firstDistance: 20 },
    ),
};

/** Encodings that know where a token stands, too. */
const absolute: typeof relative = {
  fire: (weight) =>
    fire({ layers: [{ weight: weight(H, 1), bias: weight(H) }], logScale: weight(1), threshold: weight(1) }),
  tupe: (weight) =>
    tupe({
      positions: weight(16, 3),
      queryProjection: weight(H, D, 3),
      keyProjection: weight(H, D, 3),
      fromCls: weight(H),
      toCls: weight(H),
    }),
};

const layouts = fc.record({
  queryLen: fc.integer({ min: 1, max: 5 }),
  keyLen: fc.integer({ min: 1, max: 6 }),
  queryStart: fc.integer({ min: 0, max: 6 }),
  shift: fc.integer({ min: 0, max: 4 }),
  seed: fc.integer({ min: 0, max: 1000 }),
});

describe.each(devices.slice(0, 2))("laws of encodings on $name", ({ create, tolerance }) => {
  let device: Device;
  beforeAll(() => {
    device = create();
  });
  afterAll(() => device.dispose());

  /** Weights are numbered, so that each is different and each run the same. */
  const weights = (seed: number) => {
    const made: Tensor[] = [];
    return (...shape: number[]) => {
      made.push(randn(device, shape, { seed: 100 * seed + made.length }));
      return made.at(-1) ?? randn(device, shape, { seed });
    };
  };
  const heads = (length: number, seed: number) => randn(device, [1, H, length, D], { seed });

  /** What the encoding adds to scaled scores, [.., T, S]. */
  const added = (
    encoding: PositionEncoding,
    [query, key]: readonly [Tensor, Tensor],
    queryStart: number,
  ): Tensor => {
    const { bias } = applyPositions(encoding, { query, key }, { queryStart });
    if (bias === undefined) throw new Error(`kind ${encoding.kind} adds nothing to scores`);
    expect(bias.shape.slice(1)).toEqual([H, query.shape[2], key.shape[2]]);
    return bias;
  };

  test.each(Object.entries(relative))("%s: what it adds depends on the distance only", (_, make) => {
    fc.assert(
      fc.property(layouts, ({ queryLen, keyLen, queryStart, shift, seed }) => {
        const encoding = make(weights(seed));
        const query = heads(queryLen, seed);
        const key = heads(keyLen + shift, seed + 1);
        const all = added(encoding, [query, key], queryStart + shift).narrow(3, shift, keyLen + shift);
        const moved = added(encoding, [query, key.narrow(2, shift, keyLen + shift)], queryStart);
        expect(worstDifference(all.dataSync(), moved.dataSync())).toBeLessThan(20 * tolerance);
      }),
      { numRuns: 25 },
    );
  });

  test.each(Object.entries({ ...relative, ...absolute }))(
    "%s: one query at a time gives the rows of all at once",
    (_, make) => {
      fc.assert(
        fc.property(layouts, ({ queryLen, keyLen, queryStart, seed }) => {
          const encoding = make(weights(seed));
          const [query, key] = [heads(queryLen, seed), heads(keyLen, seed + 1)];
          const all = added(encoding, [query, key], queryStart);
          for (let i = 0; i < queryLen; i++) {
            const step = added(encoding, [query.narrow(2, i, i + 1), key], queryStart + i);
            const row = all.narrow(2, i, i + 1);
            expect(worstDifference(step.dataSync(), row.dataSync())).toBeLessThan(20 * tolerance);
          }
        }),
        { numRuns: 15 },
      );
    },
  );

  test.each([
    ["rotaryEncoding", rotaryEncoding(), 0],
    ["xpos", xpos(), 0],
    ["rotary2d", rotary2d(), 2],
    ["multiSectionRotary", multiSectionRotary({ sections: [1, 1] }), 2],
  ] as const)("%s: products depend on the distance only", (_, encoding, numAxes) => {
    fc.assert(
      fc.property(layouts, fc.integer({ min: 0, max: 3000 }), (layout, far) => {
        const { queryLen, keyLen, queryStart, shift, seed } = layout;
        const places = (length: number, start: number) => {
          const row = Array.from({ length }, (__, n) => start + n);
          if (numAxes === 0) return tensor(device, Int32Array.from(row));
          // The axes move by different amounts: each counts by itself.
          const second = row.map((n) => 2 * n);
          return tensor(device, Int32Array.of(...row, ...second), { shape: [2, length] });
        };
        const [query, key] = [heads(queryLen, seed), heads(keyLen, seed + 1)];
        const products = (by: number) => {
          const turned = applyPositions(
            encoding,
            { query, key },
            { queryPositions: places(queryLen, queryStart + by), keyPositions: places(keyLen, by) },
          );
          return turned.query.matmul(turned.key, { transposeB: true }).dataSync();
        };
        expect(worstDifference(products(shift), products(shift + far))).toBeLessThan(200 * tolerance);
      }),
      { numRuns: 25 },
    );
  });
});
