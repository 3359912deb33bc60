import { type Device, randn, reference, tensor } from "@heddle/tensor";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { goldenTensors, worstDifference, worstGradient } from "../test/compare.js";
import { devices } from "../test/devices.js";
import { readGolden } from "../test/golden/read.js";
import { applyPositions } from "./position-encoding.js";
import { transformerXl } from "./transformer-xl.js";

const golden = readGolden("transformer_xl.safetensors");

describe.each(devices)("transformerXl on $name", ({ create, tolerance }) => {
  let device: Device;
  beforeAll(() => {
    device = create();
  });
  afterAll(() => device.dispose());

  test("scores, probabilities and output equal the golden, with a cached segment", () => {
    const of = goldenTensors(device, golden);
    const encoding = transformerXl({
      contentBias: of("u"),
      positionBias: of("v_bias"),
      keyProjection: of("w_kr"),
    });
    const { query, key, bias, scale } = applyPositions(encoding, { query: of("q"), key: of("k") });
    const all = query
      .matmul(key, { transposeB: true })
      .mul(scale)
      .add(bias ?? 0);
    const seen = tensor(
      device,
      Float64Array.from({ length: 60 }, (_, at) => (at % 10 <= Math.floor(at / 10) + 4 ? 0 : -1e9)),
      { shape: [6, 10] },
    );
    const visible = seen.equal(0).cast(all.dtype);
    const raw = all.mul(Math.sqrt(8)).mul(visible);
    expect(worstDifference(raw.dataSync(), of("scores").dataSync())).toBeLessThan(5 * tolerance);
    const probs = all.add(seen).softmax();
    expect(worstDifference(probs.dataSync(), of("probs").dataSync())).toBeLessThan(tolerance);
    expect(worstDifference(probs.matmul(of("v")).dataSync(), of("out").dataSync())).toBeLessThan(tolerance);
  });
});

test("gradients are those of central differences", () => {
  const device = reference();
  const shapes = [
    [1, 2, 2, 3],
    [1, 2, 4, 3],
    [2, 3],
    [2, 3],
    [2, 3, 4],
  ];
  const inputs = shapes.map((shape, seed) => randn(device, shape, { seed }));
  const worst = worstGradient(inputs, ([query, key, contentBias, positionBias, keyProjection]) => {
    if (!query || !key || !contentBias || !positionBias || !keyProjection) throw new Error("five inputs");
    return transformerXl({ contentBias, positionBias, keyProjection }).scores(query, key, {
      queryLen: 2,
      keyLen: 4,
    });
  });
  expect(worst).toBeLessThan(1e-6);
});

test("errors name the rule, the values and the cure", () => {
  const device = reference();
  const make = (contentBias: number[]) =>
    transformerXl({
      contentBias: randn(device, contentBias, { seed: 1 }),
      positionBias: randn(device, [2, 3], { seed: 1 }),
      keyProjection: randn(device, [2, 3, 4], { seed: 1 }),
    });
  expect(() => make([6])).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: transformerXl: contentBias must be [2, 3]; got contentBias [6]. Reshape it, or check the model's config.]`,
  );
  const wrong = randn(device, [1, 2, 5, 4], { seed: 1 });
  expect(() =>
    make([2, 3]).scores(wrong, wrong, { queryLen: 5, keyLen: 5 }),
  ).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: transformerXl: query must be [B, 2, seq, 3]; got query [1, 2, 5, 4]. Reshape it, or check the model's config.]`,
  );
});
