import { type Device, tensor } from "@heddle/tensor";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { worstDifference } from "../test/compare.js";
import { devices } from "../test/devices.js";
import type { RotateEncoding } from "./position-encoding.js";
import { ropeFrequencies } from "./rope-frequencies.js";
import type { RopeScaling } from "./rope-scaling.js";
import { rotary } from "./rotary.js";
import { multiSectionRotary, rotary2d } from "./rotary-axes.js";
import { sinusoidalTable } from "./sinusoidal.js";

// Around a million, and beyond what f32 counts exactly.
const far = [999_983, 1_000_000, 1_048_577, 16_777_217];
const dim = 16;
const factors = Array.from({ length: dim / 2 }, (_, i) => 1 + i / 4);
const scalings: readonly RopeScaling[] = [
  { kind: "default" },
  { kind: "linear", factor: 4 },
  { kind: "dynamic", factor: 2, originalMaxSeqLen: 2048, seqLen: 1_000_000 },
  { kind: "yarn", factor: 8, originalMaxSeqLen: 4096 },
  { kind: "llama3", factor: 8, lowFreqFactor: 1, highFreqFactor: 4, originalMaxSeqLen: 8192 },
  {
    kind: "longrope",
    shortFactors: factors,
    longFactors: factors.map((factor) => 2 * factor),
    originalMaxSeqLen: 4096,
    seqLen: 1_000_000,
    factor: 32,
  },
  { kind: "proportional", rotatedFraction: 0.5 },
];
const values = Array.from({ length: dim }, (_, i) => Math.fround(Math.cos(3 * i)));

/** Turns a row by float64 angles, pair by pair. */
function turned(angles: readonly number[], layout: "half" | "interleaved", scale = 1): number[] {
  const out = [...values];
  angles.forEach((angle, pair) => {
    const [a, b] = layout === "half" ? [pair, pair + angles.length] : [2 * pair, 2 * pair + 1];
    const [x, y] = [values[a] ?? 0, values[b] ?? 0];
    out[a] = scale * (x * Math.cos(angle) - y * Math.sin(angle));
    out[b] = scale * (x * Math.sin(angle) + y * Math.cos(angle));
  });
  return out;
}

describe.each(devices)("positions of a million on $name are exact to 1e-6", ({ create }) => {
  let device: Device;
  beforeAll(() => {
    device = create();
  });
  afterAll(() => device.dispose());

  const rows = () =>
    tensor(device, Float64Array.from(far.flatMap(() => values)), {
      shape: [1, 1, far.length, dim],
      dtype: device.defaultFloat,
    });

  test.each(
    scalings.flatMap((scaling) => (["half", "interleaved"] as const).map((layout) => ({ scaling, layout }))),
  )("rotary, $scaling.kind, $layout", ({ scaling, layout }) => {
    const frequencies = ropeFrequencies({ rotaryDim: dim, theta: 500_000, scaling });
    const positions = tensor(device, Int32Array.from(far));
    const out = rotary(rows(), { frequencies, positions, layout });
    const expected = far.flatMap((position) =>
      turned(
        Array.from(frequencies.inverseFrequencies, (frequency) => position * frequency),
        layout,
        frequencies.attentionScale,
      ),
    );
    expect(worstDifference(out.dataSync(), expected)).toBeLessThan(1e-6);
  });

  test("partial rotary", () => {
    const frequencies = ropeFrequencies({ rotaryDim: 8 });
    const out = rotary(rows(), { frequencies, positions: tensor(device, Int32Array.from(far)) });
    const expected = far.flatMap((position) => {
      const first = Array.from(frequencies.inverseFrequencies, (frequency) => position * frequency);
      const part = values.slice(0, 8).map((x, i) => {
        const [pair, other] = [i % 4, values[(i + 4) % 8] ?? 0];
        const angle = first[pair] ?? 0;
        return x * Math.cos(angle) + (i < 4 ? -other : other) * Math.sin(angle);
      });
      return [...part, ...values.slice(8)];
    });
    expect(worstDifference(out.dataSync(), expected)).toBeLessThan(1e-6);
  });

  const angleOf = (position: number, pair: number, width: number) =>
    position * 10_000 ** ((-2 * pair) / width);
  const sections = [2, 3, 3];
  const sectionOf = [0, 0, 1, 1, 1, 2, 2, 2];
  const axes: readonly (readonly [string, RotateEncoding, number, (t: number, pair: number) => number])[] = [
    [
      "rotary2d",
      rotary2d({ layout: "interleaved" }),
      2,
      (t, pair) => angleOf((far[t] ?? 0) + Math.floor(pair / 4), pair % 4, 8),
    ],
    [
      "multiSectionRotary",
      multiSectionRotary({ sections, layout: "interleaved" }),
      3,
      (t, pair) => angleOf((far[t] ?? 0) + (sectionOf[pair] ?? 0), pair, 16),
    ],
  ];
  test.each(axes)("%s", (_, encoding, numAxes, angle) => {
    const positions = Array.from({ length: numAxes }, (_, axis) =>
      far.map((position) => position + axis),
    ).flat();
    const out = encoding.rotateQuery(
      rows(),
      tensor(device, Int32Array.from(positions), { shape: [numAxes, far.length] }),
    );
    const expected = far.flatMap((_, t) =>
      turned(
        Array.from({ length: 8 }, (_, pair) => angle(t, pair)),
        "interleaved",
      ),
    );
    expect(worstDifference(out.dataSync(), expected)).toBeLessThan(1e-6);
  });

  test("sinusoidal table", () => {
    const table = sinusoidalTable(device, far, { modelDim: dim, layout: "concat" }).dataSync();
    const expected = far.flatMap((position) => {
      const angles = Array.from({ length: dim / 2 }, (_, i) => angleOf(position, i, dim));
      return [...angles.map(Math.sin), ...angles.map(Math.cos)];
    });
    expect(worstDifference(table, expected)).toBeLessThan(1e-6);
  });
});
