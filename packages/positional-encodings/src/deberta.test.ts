import { type Device, randn, reference, zeros } from "@heddle/tensor";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { goldenTensors, worstDifference, worstGradient } from "../test/compare.js";
import { devices } from "../test/devices.js";
import { readGolden } from "../test/golden/read.js";
import { deberta, debertaRow } from "./deberta.js";
import { applyPositions } from "./position-encoding.js";

const golden = readGolden("deberta.safetensors");

test("rows of distances equal the golden exactly", () => {
  const rows = Array.from({ length: 81 }, (_, at) => debertaRow(Math.floor(at / 9) - (at % 9), { span: 4 }));
  expect(rows).toEqual(Array.from(golden.get("delta").data));
});

test("v2 buckets: exact up to half the span, then logarithmic, odd in the distance", () => {
  const options = { span: 256, maxDistance: 512 };
  const bucket = (distance: number) => debertaRow(distance, options) - 256;
  for (let n = 0; n <= 128; n++) expect(bucket(n)).toBe(n);
  for (let n = 129; n < 512; n++) {
    expect(bucket(n)).toBe(Math.ceil((Math.log(n / 128) / Math.log(511 / 128)) * 127 - 1e-9) + 128);
    expect(bucket(-n)).toBe(-bucket(n));
    expect(bucket(n)).toBeGreaterThanOrEqual(bucket(n - 1));
  }
  expect([bucket(511), bucket(5000), bucket(-5000)]).toEqual([255, 255, -256]);
});

describe.each(devices)("deberta on $name", ({ create, tolerance }) => {
  let device: Device;
  beforeAll(() => {
    device = create();
  });
  afterAll(() => device.dispose());

  test("both terms, scores and output equal the golden", () => {
    const of = goldenTensors(device, golden);
    const [relativeKeys, relativeQueries] = [of("k_rel"), of("q_rel")];
    const heads = { query: of("q_content"), key: of("k_content") };
    const alone = { c2p: deberta({ relativeKeys }), p2c: deberta({ relativeQueries }) };
    for (const [name, encoding] of Object.entries(alone)) {
      const term = encoding.scores(heads.query, heads.key, { queryLen: 9, keyLen: 9 }).mul(Math.sqrt(16));
      expect(worstDifference(term.dataSync(), of(name).dataSync())).toBeLessThan(5 * tolerance);
    }
    const both = deberta({ relativeKeys, relativeQueries });
    const { query, key, bias, scale } = applyPositions(both, heads);
    const scores = query
      .matmul(key, { transposeB: true })
      .mul(scale)
      .add(bias ?? 0);
    expect(worstDifference(scores.dataSync(), of("scores").dataSync())).toBeLessThan(2 * tolerance);
    const out = scores.softmax().matmul(of("v"));
    expect(worstDifference(out.dataSync(), of("out").dataSync())).toBeLessThan(tolerance);
  });
});

const device = reference();
const shapes = [
  [1, 2, 3, 2],
  [1, 2, 5, 2],
  [2, 8, 2],
  [2, 8, 2],
];
const inputs = shapes.map((shape, seed) => randn(device, shape, { seed }));

test.each(["paper", "released"] as const)(
  "%s: equals the double loop, queries after the keys' start",
  (form) => {
    const [query = inputs[0], key, relativeKeys, relativeQueries] = inputs;
    if (!query || !key || !relativeKeys || !relativeQueries) throw new Error("four inputs");
    const encoding = deberta({ relativeKeys, relativeQueries }, { maxDistance: 9, positionToContent: form });
    const scores = encoding.scores(query, key, { queryLen: 3, keyLen: 5 }).dataSync();
    const [q, k, kr, qr] = [query, key, relativeKeys, relativeQueries].map((x) => x.dataSync());
    const dot = (a: typeof q, b: typeof q, [rowA, rowB]: [number, number]) =>
      [0, 1].reduce((sum, d) => sum + (a?.[2 * rowA + d] ?? 0) * (b?.[2 * rowB + d] ?? 0), 0);
    const expected = Array.from({ length: 30 }, (_, at) => {
      const [h, i, j] = [Math.floor(at / 15), Math.floor(at / 5) % 3, at % 5];
      const row = (distance: number) => h * 8 + debertaRow(distance, { span: 4, maxDistance: 9 });
      const distance = i + 2 - j;
      const toContent = row(form === "paper" ? -distance : distance);
      return (dot(q, kr, [h * 3 + i, row(distance)]) + dot(k, qr, [h * 5 + j, toContent])) / Math.sqrt(6);
    });
    expect(worstDifference(scores, expected)).toBeLessThan(1e-12);
  },
);

test("gradients are those of central differences", () => {
  const worst = worstGradient(inputs, ([query, key, relativeKeys, relativeQueries]) => {
    if (!query || !key || !relativeKeys || !relativeQueries) throw new Error("four inputs");
    return deberta({ relativeKeys, relativeQueries }).scores(query, key, { queryLen: 3, keyLen: 5 });
  });
  expect(worst).toBeLessThan(1e-6);
});

test("errors name the rule, the values and the cure", () => {
  expect(() => deberta({})).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: deberta: at least one of relativeKeys and relativeQueries is needed; got neither. Use noPositions() for content alone.]`,
  );
  expect(() => deberta({ relativeKeys: zeros(device, [8, 2]) })).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: deberta: relativeKeys must be [H, 2, D]; got relativeKeys [8, 2]. Reshape it, or check the model's config.]`,
  );
  expect(() => debertaRow(9, { span: 5, maxDistance: 512 })).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: debertaRow: buckets need an even span of at least 4, below maxDistance; got span 5, maxDistance 512. DeBERTa v2 has 256 and 512.]`,
  );
  expect(() => debertaRow(9, { span: 0 })).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: debertaRow: span must be a whole number above 0; got span 0. Take it from the model's config.]`,
  );
});
