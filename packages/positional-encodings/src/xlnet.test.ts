import { type Device, randn, reference, tensor } from "@heddle/tensor";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { goldenTensors, worstDifference, worstGradient } from "../test/compare.js";
import { devices } from "../test/devices.js";
import { readGolden } from "../test/golden/read.js";
import { applyPositions } from "./position-encoding.js";
import { xlnet } from "./xlnet.js";

const golden = readGolden("xlnet_attention.safetensors");

describe.each(devices)("xlnet on $name", ({ create, tolerance }) => {
  let device: Device;
  beforeAll(() => {
    device = create();
  });
  afterAll(() => device.dispose());

  test("probabilities and output equal the golden, with segments and a permutation mask", () => {
    const of = goldenTensors(device, golden);
    const heads = (name: string) => of(name).transpose([1, 2, 0, 3]); // [seq, B, H, D] -> [B, H, seq, D]
    const encoding = xlnet(
      {
        contentBias: of("r_w_bias"),
        positionBias: of("r_r_bias"),
        segmentBias: of("r_s_bias"),
        segmentEmbedding: of("seg_embed"),
      },
      {
        relativeKeys: heads("k_r"),
        isOtherSegment: of("seg_mat").narrow(3, 1, 2).squeeze([3]).transpose([2, 0, 1]),
      },
    );
    const { query, key, bias, scale } = applyPositions(encoding, { query: heads("q"), key: heads("k") });
    const blocked = of("attn_mask").transpose([2, 3, 0, 1]).mul(-1e9);
    const scores = query
      .matmul(key, { transposeB: true })
      .mul(scale)
      .add(bias ?? 0);
    const probs = scores.add(blocked).softmax();
    const expected = of("probs").transpose([2, 3, 0, 1]);
    expect(worstDifference(probs.dataSync(), expected.dataSync())).toBeLessThan(tolerance);
    const out = probs.matmul(heads("v")).transpose([2, 0, 1, 3]);
    expect(worstDifference(out.dataSync(), of("out").dataSync())).toBeLessThan(tolerance);
  });
});

const device = reference();
const shapes = [
  [1, 2, 2, 3],
  [1, 2, 4, 3],
  [2, 3],
  [2, 3],
  [2, 3],
  [2, 2, 3],
  [2, 6, 3],
];
const inputs = shapes.map((shape, seed) => randn(device, shape, { seed }));

function scoresOf(tensors: typeof inputs) {
  const [query, key, contentBias, positionBias, segmentBias, segmentEmbedding, relativeKeys] = tensors;
  if (!query || !key || !contentBias || !positionBias) throw new Error("seven inputs");
  if (!segmentBias || !segmentEmbedding || !relativeKeys) throw new Error("seven inputs");
  const isOtherSegment = tensor(device, [
    [
      [0, 0, 1, 1],
      [1, 0, 1, 0],
    ],
  ]);
  return xlnet(
    { contentBias, positionBias, segmentBias, segmentEmbedding },
    { relativeKeys, isOtherSegment },
  ).scores(query, key, { queryLen: 2, keyLen: 4 });
}

test("gradients are those of central differences", () => {
  expect(worstGradient(inputs, (tensors) => scoresOf([...tensors]))).toBeLessThan(1e-6);
});

test("errors name the rule, the values and the cure", () => {
  const short = [...inputs.slice(0, 6), randn(device, [2, 4, 3], { seed: 1 })];
  expect(() => scoresOf(short)).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: xlnet: relativeKeys must hold every distance from 3 down to -1; got 4 rows from distance 4. Project a longer table.]`,
  );
  const flat = [...inputs.slice(0, 6), randn(device, [6, 3], { seed: 1 })];
  expect(() => scoresOf(flat)).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: xlnet: relativeKeys must be [2, N, 3]; got relativeKeys [6, 3]. Reshape it, or check the model's config.]`,
  );
});
