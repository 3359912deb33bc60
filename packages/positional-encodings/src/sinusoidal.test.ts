import { type Device, reference, tensor, zeros } from "@heddle/tensor";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { worstDifference } from "../test/compare.js";
import { devices } from "../test/devices.js";
import { readGolden } from "../test/golden/read.js";
import { sinusoidal, sinusoidalTable } from "./sinusoidal.js";

const golden = readGolden("sinusoidal.safetensors");

describe.each(devices)("sinusoidal on $name", ({ create, tolerance }) => {
  let device: Device;
  beforeAll(() => {
    device = create();
  });
  afterAll(() => device.dispose());

  test.each([
    ["interleaved", 16],
    ["interleaved", 64],
    ["concat", 16],
    ["concat", 64],
  ] as const)("%s %i equals the golden", (layout, modelDim) => {
    const positions = golden.get("positions").data;
    const table = sinusoidalTable(device, positions, { modelDim, layout });
    const expected = golden.get(`${layout}_${modelDim}`).data;
    expect(worstDifference(table.dataSync(), expected)).toBeLessThan(tolerance);
  });

  test("a position of a million is exact", () => {
    const table = sinusoidalTable(device, [1_000_000], { modelDim: 4, layout: "concat" }).dataSync();
    const angles = [1_000_000, 10_000];
    const expected = [...angles.map(Math.sin), ...angles.map(Math.cos)];
    expect(worstDifference(table, expected)).toBeLessThan(1e-7);
  });

  test("is added by position, per row of the batch", () => {
    const encoding = sinusoidal({ modelDim: 4, maxSeqLen: 10 });
    const x = zeros(device, [2, 3, 4]);
    const positions = tensor(device, Int32Array.of(0, 1, 2, 7, 8, 9), { shape: [2, 3] });
    const expected = sinusoidalTable(device, [0, 1, 2, 7, 8, 9], { modelDim: 4 }).dataSync();
    expect(encoding.addTo(x, { positions }).dataSync()).toEqual(expected);
    expect(encoding.addTo(x.narrow(0, 0, 1)).dataSync()).toEqual(expected.slice(0, 12));
  });
});

test("errors name the rule, the values and the cure", () => {
  const device = reference();
  expect(() => sinusoidalTable(device, [0], { modelDim: 5 })).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: sinusoidalTable: modelDim must be even, because each angle gives a sine and a cosine; got modelDim 5. Use 6.]`,
  );
  expect(() => sinusoidalTable(device, [0], { modelDim: 4, base: 0 })).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: sinusoidalTable: base must be a finite number above 0; got base 0. Take it from the model's config.]`,
  );
  const positions = tensor(device, Int32Array.of(0));
  expect(() =>
    sinusoidal({ modelDim: 4 }).addTo(zeros(device, [1, 1, 4]), { positions }),
  ).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: sinusoidal: maxSeqLen is needed where positions are given, because they are looked up in a table; got maxSeqLen undefined. Give the longest text, in tokens.]`,
  );
});
