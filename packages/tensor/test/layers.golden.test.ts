import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { compile, type Device, type Tensor, valueAndGrad } from "../src/index.js";
import { testDevices } from "./devices.js";
import { readGolden } from "./golden.js";
import { type Arrays, goldenActivations, goldenLayers } from "./layers.golden.js";

interface Index {
  readonly cases: Readonly<
    Record<string, { file: string; eps?: number; label_smoothing?: number; reduction?: "sum" | "none" }>
  >;
}

const { cases } = JSON.parse(readFileSync(new URL("golden/index.json", import.meta.url), "utf8")) as Index;

/** Largest difference beyond `tolerance.absolute + tolerance.relative * |expected|`; at most 0 passes. */
async function excess(
  actual: Tensor,
  expected: Tensor,
  tolerance: { absolute: number; relative: number },
): Promise<number> {
  expect(actual.size).toBe(expected.size);
  const [a, b] = [await actual.data(), await expected.data()];
  return Array.from(a).reduce((worst, value, i) => {
    const want = b[i] ?? Number.NaN;
    const over = Math.abs(value - want) - tolerance.absolute - tolerance.relative * Math.abs(want);
    return Math.max(worst, Number.isNaN(over) ? Number.POSITIVE_INFINITY : over);
  }, Number.NEGATIVE_INFINITY);
}

describe.each(testDevices)("layers on $name equal PyTorch", ({ make, golden }) => {
  const names = Object.keys(cases).filter((name) => name !== "activations");
  test.each(names.flatMap((name) => [[name, "eager"] as const, [name, "compiled"] as const]))(
    "%s, %s",
    async (name, mode) => {
      const device: Device = make();
      const layer = goldenLayers[name];
      const { file = "", ...options } = cases[name] ?? {};
      if (layer === undefined) throw new Error(`no layer for golden ${name}`);
      const arrays: Arrays = Object.fromEntries(readGolden(device, file));
      const { out, d_out: weight } = arrays;
      const run = (inputs: Arrays) => {
        const value = layer.run({ ...arrays, ...inputs }, options);
        return { value: weight ? value.mul(weight.reshape(value.shape)).sum() : value, aux: value };
      };
      const step = valueAndGrad(run, { hasAux: true });
      const inputs = Object.fromEntries(layer.inputs.map((input) => [input, arrays[input] as Tensor]));
      const { grad, aux } = (mode === "compiled" ? compile(step) : step)(inputs);
      expect(await excess(aux, out as Tensor, golden)).toBeLessThanOrEqual(0);
      for (const input of layer.inputs) {
        expect(
          await excess(grad[input] as Tensor, arrays[`d_${input}`] as Tensor, golden),
          `d_${input}`,
        ).toBeLessThanOrEqual(0);
      }
      device.dispose();
    },
  );

  test.each(Object.entries(goldenActivations))("activation %s", async (name, activate) => {
    const device = make();
    const arrays = readGolden(device, "activations.safetensors");
    const { aux, grad } = valueAndGrad(
      (x: Tensor) => {
        const y = activate(x);
        return { value: y.sum(), aux: y };
      },
      { hasAux: true },
    )(arrays.get("x") as Tensor);
    expect(await excess(aux, arrays.get(name) as Tensor, golden)).toBeLessThanOrEqual(0);
    expect(await excess(grad, arrays.get(`${name}_grad`) as Tensor, golden)).toBeLessThanOrEqual(0);
    device.dispose();
  });
});
