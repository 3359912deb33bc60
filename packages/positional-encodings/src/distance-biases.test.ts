import { type Device, randn, reference, type Tensor, tensor } from "@heddle/tensor";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { worstDifference, worstGradient } from "../test/compare.js";
import { devices } from "../test/devices.js";
import { dynamicPositionBias } from "./dynamic-position-bias.js";
import { fire } from "./fire.js";
import { kerple } from "./kerple.js";
import { sandwich } from "./sandwich.js";

const layout = { queryLen: 3, keyLen: 6, queryStart: 2 };

/** b[h, i, j] for every pair of `layout`, from a function of head, query position and key position. */
function pairs(numHeads: number, bias: (head: number, query: number, key: number) => number): number[] {
  return Array.from({ length: numHeads * 18 }, (_, at) =>
    bias(Math.floor(at / 18), 2 + (Math.floor(at / 6) % 3), at % 6),
  );
}

/** Layers 1 -> 3 -> 2 with a layer norm between them where asked. */
function network(device: Device, hasNorm: boolean) {
  const [w1, b1, w2, b2, gain, shift] = [[3, 1], [3], [2, 3], [2], [3], [3]].map((shape, seed) =>
    randn(device, shape, { seed: seed + 1 }),
  ) as [Tensor, Tensor, Tensor, Tensor, Tensor, Tensor];
  const norm = { weight: gain, bias: shift };
  return [
    { weight: w1, bias: b1 },
    { weight: w2, bias: b2, ...(hasNorm && { norm }) },
  ];
}

/** The network as plain loops over numbers. */
function networkTwin(layers: ReturnType<typeof network>, x: number): number[] {
  return layers.reduce(
    (values, { weight, bias, norm }, at) => {
      let input = values;
      if (norm) {
        const mean = values.reduce((sum, v) => sum + v, 0) / values.length;
        const variance = values.reduce((sum, v) => sum + (v - mean) ** 2, 0) / values.length;
        const [gain, shift] = [norm.weight.dataSync(), norm.bias.dataSync()];
        input = values.map(
          (v, i) => ((v - mean) / Math.sqrt(variance + 1e-5)) * (gain[i] ?? 0) + (shift[i] ?? 0),
        );
      }
      if (at > 0) input = input.map((v) => Math.max(v, 0));
      const rows = weight.dataSync();
      return Array.from(bias.dataSync(), (offset, out) =>
        input.reduce((sum, v, i) => sum + v * (rows[out * input.length + i] ?? 0), offset),
      );
    },
    [x],
  );
}

describe.each(devices)("biases on $name equal the formula, pair by pair", ({ create, tolerance }) => {
  let device: Device;
  beforeAll(() => {
    device = create();
  });
  afterAll(() => device.dispose());

  test("kerple", () => {
    const weights = { scale: tensor(device, [0.5, 2]), rate: tensor(device, [1.5, 0.25]) };
    const [r1, r2] = [
      [0.5, 2],
      [1.5, 0.25],
    ];
    const log = kerple(weights).bias(layout);
    expect(log.shape).toEqual([1, 2, 3, 6]);
    const expectedLog = pairs(
      2,
      (h, i, j) => -(r1?.[h] ?? 0) * Math.log(1 + (r2?.[h] ?? 0) * Math.abs(i - j)),
    );
    expect(worstDifference(log.dataSync(), expectedLog)).toBeLessThan(2 * tolerance);
    const power = kerple(weights, { kernel: "power" }).bias(layout).dataSync();
    const expectedPower = pairs(2, (h, i, j) => -(r1?.[h] ?? 0) * Math.abs(i - j) ** (r2?.[h] ?? 0));
    expect(worstDifference(power, expectedPower)).toBeLessThan(5 * tolerance);
  });

  test("sandwich", () => {
    const bias = sandwich(device, { numHeads: 3, dim: 6 }).bias(layout);
    const expected = pairs(3, (h, i, j) => {
      const angle = (n: number, k: number) => n / 10_000 ** ((2 * k) / 6);
      const product = [0, 1, 2].reduce(
        (sum, k) =>
          sum + Math.sin(angle(i, k)) * Math.sin(angle(j, k)) + Math.cos(angle(i, k)) * Math.cos(angle(j, k)),
        0,
      );
      return product / (((h + 1) * 8) / 3);
    });
    expect(worstDifference(bias.dataSync(), expected)).toBeLessThan(tolerance);
  });

  test.each([true, false])("dynamicPositionBias, layer norm %s", (hasNorm) => {
    const layers = network(device, hasNorm);
    const bias = dynamicPositionBias(layers).bias(layout);
    const expected = pairs(2, (h, i, j) => networkTwin(layers, i - j)[h] ?? Number.NaN);
    expect(worstDifference(bias.dataSync(), expected)).toBeLessThan(20 * tolerance);
  });

  test("fire", () => {
    const layers = network(device, false);
    const weights = { layers, logScale: tensor(device, [0.7]), threshold: tensor(device, [-3]) };
    const bias = fire(weights).bias(layout);
    const psi = (x: number) => Math.log(Math.abs(0.7 * x) + 1);
    const expected = pairs(
      2,
      (h, i, j) => networkTwin(layers, psi(i - j) / (psi(Math.max(i, 3)) + 1e-6))[h] ?? Number.NaN,
    );
    expect(worstDifference(bias.dataSync(), expected)).toBeLessThan(10 * tolerance);
  });
});

const device = reference();

test.each(["log", "power"] as const)("kerple %s: gradients are those of central differences", (kernel) => {
  const [scale, rate] = [tensor(device, [0.5, 2]), tensor(device, [1.5, 0.25])];
  const worst = worstGradient([scale, rate], ([a = scale, b = rate]) =>
    kerple({ scale: a, rate: b }, { kernel }).bias(layout),
  );
  expect(worst).toBeLessThan(1e-5);
});

test("networks: gradients are those of central differences", () => {
  const layers = network(device, false);
  const inputs = [
    ...layers.flatMap(({ weight, bias }) => [weight, bias]),
    tensor(device, [0.7]),
    tensor(device, [3.3]),
  ];
  const rebuilt = ([w1, b1, w2, b2]: readonly Tensor[]) => {
    if (!w1 || !b1 || !w2 || !b2) throw new Error("four weights");
    return [
      { weight: w1, bias: b1 },
      { weight: w2, bias: b2 },
    ];
  };
  const dynamic = worstGradient(inputs.slice(0, 4), (weights) =>
    dynamicPositionBias(rebuilt(weights)).bias(layout),
  );
  expect(dynamic).toBeLessThan(1e-5);
  const relative = worstGradient(inputs, (weights) => {
    const [logScale, threshold] = weights.slice(4);
    if (!logScale || !threshold) throw new Error("six weights");
    return fire({ layers: rebuilt(weights), logScale, threshold }).bias(layout);
  });
  expect(relative).toBeLessThan(1e-5);
});

test("errors name the rule, the values and the cure", () => {
  const two = tensor(device, [1, 2]);
  expect(() => kerple({ scale: two, rate: tensor(device, [1]) })).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: kerple: rate must be [2]; got rate [1]. Reshape it, or check the model's config.]`,
  );
  expect(() => sandwich(device, { numHeads: 2, dim: 5 })).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: sandwich: dim must be even, because each angle gives a sine and a cosine; got dim 5. Use 6.]`,
  );
  expect(() => dynamicPositionBias([])).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: dynamicPositionBias: layers.length must be a whole number above 0; got layers.length 0. Take it from the model's config.]`,
  );
  const layers = network(device, false);
  expect(() => dynamicPositionBias(layers.slice(1))).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: dynamicPositionBias: layers[0].weight must be [out, 1]; got layers[0].weight [2, 3]. Reshape it, or check the model's config.]`,
  );
  expect(() =>
    fire({ layers, logScale: two, threshold: tensor(device, [1]) }),
  ).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: fire: logScale must be [1]; got logScale [2]. Reshape it, or check the model's config.]`,
  );
});
