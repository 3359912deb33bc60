import { type Device, randn, reference } from "@heddle/tensor";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { goldenTensors, worstDifference, worstGradient } from "../test/compare.js";
import { devices } from "../test/devices.js";
import { readGolden } from "../test/golden/read.js";
import { applyPositions } from "./position-encoding.js";
import { t5Bias } from "./t5-bias.js";
import { tupe } from "./tupe.js";

const golden = readGolden("tupe.safetensors");

describe.each(devices)("tupe on $name", ({ create, tolerance }) => {
  let device: Device;
  beforeAll(() => {
    device = create();
  });
  afterAll(() => device.dispose());

  test.each([
    ["tupe_a", false, false],
    ["tupe_r", true, false],
    ["tupe_r_untied_cls", true, true],
  ] as const)("%s equals the golden", (name, isRelative, isUntied) => {
    const of = goldenTensors(device, golden);
    const project = (weight: string) => of("x").expandDims(1).matmul(of(weight), { transposeB: true });
    const encoding = tupe(
      {
        positions: of("p"),
        queryProjection: of("u_q"),
        keyProjection: of("u_k"),
        ...(isUntied && { fromCls: of("theta1"), toCls: of("theta2") }),
      },
      isRelative ? { relative: t5Bias(of("bias_table"), { numBuckets: 8, maxDistance: 20 }) } : {},
    );
    const { query, key, bias, scale } = applyPositions(encoding, {
      query: project("w_q"),
      key: project("w_k"),
    });
    const scores = query
      .matmul(key, { transposeB: true })
      .mul(scale)
      .add(bias ?? 0);
    expect(worstDifference(scores.dataSync(), of(name).dataSync())).toBeLessThan(5 * tolerance);
    if (!isUntied) return;
    const probs = scores.softmax().dataSync();
    expect(worstDifference(probs, of("probs_r_untied_cls").dataSync())).toBeLessThan(tolerance);
  });
});

const device = reference();
const heads = randn(device, [1, 2, 3, 2], { seed: 9 });
const shapes = [[4, 5], [2, 2, 5], [2, 2, 5], [2], [2]];
const inputs = shapes.map((shape, seed) => randn(device, shape, { seed }));

function encodingOf(tensors: readonly (typeof heads)[]) {
  const [positions, queryProjection, keyProjection, fromCls, toCls] = tensors;
  if (!positions || !queryProjection || !keyProjection) throw new Error("three inputs or more");
  return tupe({
    positions,
    queryProjection,
    keyProjection,
    ...(fromCls && { fromCls }),
    ...(toCls && { toCls }),
  });
}

test("a decoding step has the last row, theta_2 included", () => {
  const encoding = encodingOf(inputs);
  const all = encoding.scores(heads, heads, { queryLen: 3, keyLen: 3 });
  const step = encoding.scores(heads.narrow(2, 2, 3), heads, { queryLen: 1, keyLen: 3 });
  expect(worstDifference(step.dataSync(), all.narrow(2, 2, 3).dataSync())).toBeLessThan(1e-12);
});

test("gradients are those of central differences", () => {
  const worst = worstGradient(inputs, (tensors) =>
    encodingOf(tensors).scores(heads, heads, { queryLen: 3, keyLen: 3 }),
  );
  expect(worst).toBeLessThan(1e-6);
});

test("errors name the rule, the values and the cure", () => {
  expect(() => encodingOf(inputs.slice(0, 4))).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: tupe: fromCls and toCls belong together; got only fromCls. Give both, or none to leave [CLS] tied.]`,
  );
  expect(() =>
    encodingOf(inputs).scores(heads, heads, { queryLen: 5, keyLen: 5 }),
  ).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: tupe: every query and key needs a position vector; got 4 vectors for positions 0..4. Cut the text to 4 tokens.]`,
  );
});
