import { describe, expect, test } from "vitest";
import { testDevices } from "../test/devices.js";
import { dropout, foldIn, ones, rand, randn, randomKey, reference, splitKey, tensor } from "./index.js";

const moments = (values: ArrayLike<number>) => {
  const list = Array.from(values);
  const mean = list.reduce((sum, x) => sum + x, 0) / list.length;
  return { mean, variance: list.reduce((sum, x) => sum + (x - mean) ** 2, 0) / list.length };
};

describe.each(testDevices)("random numbers on $name", ({ make }) => {
  test("the same seed gives the same numbers as on the reference device, another seed others", () => {
    const device = make();
    const expected = rand(reference(), [1001], { seed: 5 }).dataSync();
    expect([...rand(device, [1001], { seed: 5 }).dataSync()]).toEqual([...expected]);
    expect([...rand(device, [1001], { seed: 6 }).dataSync()]).not.toEqual([...expected]);
    const normal = randn(device, [999], { seed: 2 ** 40 + 3, dtype: "f32" }).dataSync();
    expect([...normal]).toEqual([
      ...randn(reference(), [999], { seed: 2 ** 40 + 3, dtype: "f32" }).dataSync(),
    ]);
    device.dispose();
  });

  test("uniform and normal numbers have their moments", () => {
    const device = make();
    const uniform = moments(rand(device, [40_000], { seed: 1 }).dataSync());
    expect(uniform.mean).toBeCloseTo(0.5, 2);
    expect(uniform.variance).toBeCloseTo(1 / 12, 2);
    const normal = moments(randn(device, [40_000], { seed: 1 }).dataSync());
    expect(Math.abs(normal.mean)).toBeLessThan(0.02);
    expect(Math.abs(normal.variance - 1)).toBeLessThan(0.03);
    device.dispose();
  });

  test("dropout keeps the mean, drops the same elements on every device and others for other keys", () => {
    const device = make();
    const run = (on: typeof device, seed: number) =>
      Array.from(
        dropout(ones(on, [5000], { dtype: "f32" }), { rate: 0.25, key: randomKey(on, seed) }).dataSync(),
      );
    const kept = run(device, 1);
    expect(kept).toEqual(run(reference(), 1));
    expect(kept).not.toEqual(run(device, 2));
    expect(moments(kept).mean).toBeCloseTo(1, 1);
    expect(new Set(kept)).toEqual(new Set([0, Math.fround(1 / 0.75)]));
    device.dispose();
  });

  test("split and folded keys differ from each other and from their origin", () => {
    const device = make();
    const key = randomKey(device, 9);
    const keys = [
      key,
      ...splitKey(key, 3),
      foldIn(key, tensor(device, new Uint32Array([1]))),
      foldIn(key, tensor(device, new Uint32Array([2]))),
    ];
    const texts = keys.map((k) => k.dataSync().join());
    expect(new Set(texts).size).toBe(keys.length);
    const on = reference();
    expect(texts.slice(1, 4)).toEqual(splitKey(randomKey(on, 9), 3).map((k) => k.dataSync().join()));
    device.dispose();
  });
});
