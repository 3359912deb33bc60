import { compile, type Device, randn, tensor, valueAndGrad } from "@heddle/tensor";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { devices } from "../test/devices.js";
import { readGolden } from "../test/golden/read.js";
import { ropeFrequencies } from "./rope-frequencies.js";
import { type RotaryOptions, rotary } from "./rotary.js";

const golden = readGolden("rope_apply.safetensors");

function worstDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  expect(a.length).toBe(b.length);
  return Array.from(a).reduce(
    (worst, value, i) => Math.max(worst, Math.abs(value - (b[i] ?? Number.NaN))),
    0,
  );
}

describe.each(devices)("rotary on $name", ({ create, tolerance }) => {
  let device: Device;
  beforeAll(() => {
    device = create();
  });
  afterAll(() => device.dispose());

  const goldenTensor = (name: string) => {
    const { shape, data } = golden.get(name);
    return tensor(device, data, { shape, dtype: name === "positions" ? "i32" : device.defaultFloat });
  };

  test.each([
    ["q", "half", undefined],
    ["k", "half", undefined],
    ["q", "interleaved", undefined],
    ["k", "interleaved", undefined],
    ["q", "half", 8],
    ["k", "half", 8],
  ] as const)("%s, %s, rotaryDim %s: equals the golden", (name, layout, rotaryDim) => {
    const frequencies = rotaryDim && ropeFrequencies({ rotaryDim });
    const options: RotaryOptions = {
      layout,
      positions: goldenTensor("positions"),
      ...(frequencies && { frequencies }),
    };
    const expected = golden.get(`${name}_${rotaryDim === undefined ? "" : "partial_"}${layout}`).data;
    expect(worstDifference(rotary(goldenTensor(name), options).dataSync(), expected)).toBeLessThan(tolerance);
  });

  test.each(["half", "interleaved"] as const)("%s: the gradient turns the other way", (layout) => {
    const x = randn(device, [2, 2, 3, 10], { seed: 1 });
    const w = randn(device, [2, 2, 3, 10], { seed: 2 });
    const positions = tensor(device, Int32Array.of(5, 0, 900));
    const frequencies = { ...ropeFrequencies({ rotaryDim: 6 }), attentionScale: 1.25 };
    const options = { layout, positions, frequencies };
    const { grad } = valueAndGrad((input: typeof x) => rotary(input, options).mul(w).sum())(x);
    const slope = directional(x.dataSync(), (values) => {
      const moved = tensor(device, Float64Array.from(values), { shape: x.shape, dtype: device.defaultFloat });
      return rotary(moved, options).mul(w).sum().dataSync()[0] ?? Number.NaN;
    });
    expect(worstDifference(grad.dataSync(), slope)).toBeLessThan(device.kind === "reference" ? 1e-8 : 2e-3);
  });

  test("positions default to 0 .. T-1", () => {
    const x = randn(device, [1, 2, 5, 8], { seed: 3 });
    const counted = rotary(x, { positions: tensor(device, Int32Array.of(0, 1, 2, 3, 4)) });
    expect(rotary(x).dataSync()).toEqual(counted.dataSync());
  });

  test("theta sets the base", () => {
    const x = randn(device, [1, 1, 4, 8], { seed: 4 });
    const frequencies = ropeFrequencies({ rotaryDim: 8, theta: 500 });
    expect(rotary(x, { theta: 500 }).dataSync()).toEqual(rotary(x, { frequencies }).dataSync());
  });

  test("half floats are computed in f32 and come back", () => {
    if (device.kind === "reference") return;
    const x = randn(device, [1, 2, 5, 8], { seed: 8 }).cast("bf16");
    const positions = tensor(device, Int32Array.of(1000, 2, 3, 4, 5));
    const out = rotary(x, { positions });
    expect(out.dtype).toBe("bf16");
    const wide = rotary(x.cast("f32"), { positions }).cast("bf16");
    expect(out.dataSync()).toEqual(wide.dataSync());
  });

  test("one compiled function takes new positions at every run", () => {
    const x = randn(device, [2, 2, 3, 8], { seed: 9 });
    const step = compile((input: typeof x, positions: typeof x) => rotary(input, { positions }));
    for (const first of [0, 77, 4000]) {
      const positions = tensor(
        device,
        Int32Array.from({ length: 6 }, (_, i) => first + 7 * i),
        { shape: [2, 3] },
      );
      expect(step(x, positions).dataSync()).toEqual(rotary(x, { positions }).dataSync());
    }
    expect(step.plans()).toHaveLength(1);
    step.dispose();
  });

  test("leaks nothing", () => {
    const x = randn(device, [1, 2, 5, 8], { seed: 5 });
    const before = device.memory().buffers;
    rotary(x).dispose();
    const { value, grad } = valueAndGrad((input: typeof x) => rotary(input).sum())(x);
    value.dispose();
    grad.dispose();
    expect(device.memory().buffers).toBe(before);
  });

  test("errors name the rule, the values and the cure", () => {
    const x = randn(device, [2, 1, 3, 8], { seed: 6 });
    const wide = ropeFrequencies({ rotaryDim: 16 });
    expect(() => rotary(x.reshape([6, 8]))).toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: rotary: x must be [batch, heads, seq, headDim]; got x [6, 8]. Reshape it to four axes.]`,
    );
    expect(() => rotary(x, { frequencies: wide })).toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: rotary: frequencies must turn at most headDim features; got rotaryDim 16, headDim 8. Call ropeFrequencies with rotaryDim 8 or less.]`,
    );
    expect(() =>
      rotary(x, { positions: tensor(device, Int32Array.of(0, 1)) }),
    ).toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: rotary: positions must be [seq] or [batch, seq]; got positions [2], x [2, 1, 3, 8]. Give one position per token.]`,
    );
    expect(() => rotary(x, { positions: tensor(device, Float32Array.of(0, 1, 2)) })).toThrow(
      /rotary: positions must be i32; got f(32|64)\. Create them with \{ dtype: "i32" \}\./,
    );
    expect(() => rotary(x.cast("i32"))).toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: rotary: x must be a float; got i32. Cast it to f32 first.]`,
    );
    expect(() => rotary(randn(device, [1, 1, 2, 7], { seed: 7 }))).toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: ropeFrequencies: rotaryDim must be even and above 0, because features turn in pairs; got rotaryDim 7. Use headDim, or the even part of it that your model rotates.]`,
    );
  });
});

/** Central differences of a scalar function. */
function directional(at: ArrayLike<number>, f: (values: number[]) => number): number[] {
  const h = 1e-3;
  return Array.from(at, (_, i) => {
    const moved = (delta: number) => f(Array.from(at, (value, j) => (i === j ? value + delta : value)));
    return (moved(h) - moved(-h)) / (2 * h);
  });
}
