import { describe, expect, test } from "vitest";
import { readGolden } from "../../test/golden/read.js";
import { plainFeatures, runKernel } from "../../test/run-kernel.js";
import type { RotaryParams } from "../rotary-params.js";
import { rotaryWasm } from "./rotary.wasm.js";

const golden = readGolden("rope_apply.safetensors");
const spec = { name: "rotary", infer: () => [] };

function rotate(name: "q" | "k", params: RotaryParams): Float32Array {
  const x = golden.get(name);
  const positions = golden.get("positions");
  const out = new Float32Array(x.data.length);
  const type = { shape: x.shape, dtype: "f32" } as const;
  const call = {
    op: spec,
    params,
    inputs: [type, { shape: positions.shape, dtype: "i32" } as const],
    outputs: [type],
  };
  const kernel = rotaryWasm(call, plainFeatures);
  if (kernel === undefined) throw new Error("no kernel");
  runKernel(kernel, [x.data as Float32Array, positions.data as Int32Array, out]);
  return out;
}

function frequencies(dim: number): number[] {
  return Array.from({ length: dim / 2 }, (_, i) => 10_000 ** ((-2 * i) / dim));
}

function worstDifference(a: Float32Array, b: ArrayLike<number>): number {
  return a.reduce((worst, value, i) => Math.max(worst, Math.abs(value - (b[i] ?? Number.NaN))), 0);
}

describe.each(["q", "k"] as const)("the WebAssembly kernel rotates %s", (name) => {
  const full = { inverseFrequencies: frequencies(16), attentionScale: 1, isInverse: false };
  test("in halves", () => {
    const expected = golden.get(`${name}_half`).data;
    expect(worstDifference(rotate(name, { ...full, layout: "half" }), expected)).toBeLessThan(1e-6);
  });
  test("interleaved", () => {
    const expected = golden.get(`${name}_interleaved`).data;
    expect(worstDifference(rotate(name, { ...full, layout: "interleaved" }), expected)).toBeLessThan(1e-6);
  });
  test("in part", () => {
    const expected = golden.get(`${name}_partial_half`).data;
    const params = { ...full, inverseFrequencies: frequencies(8), layout: "half" } as const;
    expect(worstDifference(rotate(name, params), expected)).toBeLessThan(1e-6);
  });
});

test.each([0, 1, 4095, 131_071, 1_000_003, 16_777_213])(
  "angles at position %i are exact to f32",
  (position) => {
    const inverseFrequencies = frequencies(32).slice(0, 15); // an odd number of pairs
    const shape = [1, 1, 1, 30];
    const x = Float32Array.from({ length: 30 }, (_, i) => (i < 15 ? 1 : 0));
    const out = new Float32Array(30);
    const call = {
      op: spec,
      params: { inverseFrequencies, attentionScale: 1, layout: "half", isInverse: false } as const,
      inputs: [{ shape, dtype: "f32" } as const, { shape: [1], dtype: "i32" } as const],
      outputs: [{ shape, dtype: "f32" } as const],
    };
    const kernel = rotaryWasm(call, plainFeatures);
    if (kernel === undefined) throw new Error("no kernel");
    runKernel(kernel, [x, Int32Array.of(position), out]);
    const cos = inverseFrequencies.map((frequency) => Math.cos(position * frequency));
    const sin = inverseFrequencies.map((frequency) => Math.sin(position * frequency));
    expect(worstDifference(out, [...cos, ...sin])).toBeLessThan(1.2e-7);
  },
);
