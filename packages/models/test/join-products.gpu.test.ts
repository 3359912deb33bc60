import { appendKv, createKvCache } from "@heddle/attention";
import { ropeFrequencies, rotary } from "@heddle/positional-encodings";
import { partTypes, type QuantFormat, quantFromParts } from "@heddle/quant";
import {
  add,
  compile,
  type Device,
  disposeTree,
  type FloatDType,
  fromBytes,
  gelu,
  type LinearWeight,
  layerNorm,
  linear,
  randn,
  rmsNorm,
  scope,
  swiGLU,
  type Tensor,
  tensor,
} from "@heddle/tensor";
import { afterAll, describe, expect, test } from "vitest";
import { findDevice } from "../../gpu/test/find-device.js";

const { device, reason } = await findDevice({ toggles: { enable: ["allow_unsafe_apis"] } });
afterAll(() => device?.dispose());

/** Largest difference of two tensors beside the largest number of the second. */
async function difference(a: Tensor, b: Tensor): Promise<number> {
  const [x, y] = [await a.data(), await b.data()];
  let [worst, size] = [0, 1e-9];
  for (let i = 0; i < y.length; i++) {
    const gap = Math.abs(Number(x[i]) - Number(y[i]));
    worst = Number.isNaN(gap) ? Number.POSITIVE_INFINITY : Math.max(worst, gap);
    size = Math.max(size, Math.abs(Number(y[i])));
  }
  return worst / size;
}

/** Names of the launches of the only plan. */
const launchesOf = (compiled: { plans(): readonly { launches: readonly { name: string }[] }[] }) =>
  compiled.plans()[0]?.launches.map(({ name }) => name);

/** Rounding of results; f16 sums are rounded more often where nothing is joined. */
const tolerances: Partial<Record<FloatDType, number>> = { f32: 2e-6, f16: 4e-3 };

/** A weight of random codes and scales. */
function randomQuant(
  on: Device,
  format: QuantFormat,
  {
    outFeatures,
    inFeatures,
    seed,
  }: { readonly outFeatures: number; readonly inFeatures: number; readonly seed: number },
) {
  const layout = { ...format, outFeatures, inFeatures };
  let state = seed;
  const next = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state >>> 8;
  };
  const parts = Object.entries(partTypes(layout)).map(([name, type]) => {
    const length = type.shape.reduce((product, extent) => product * extent, 1);
    if (type.dtype === "u8" || type.dtype === "i8") {
      const limit = name === "codes" ? 256 : 60;
      return [
        name,
        fromBytes(
          on,
          type,
          Uint8Array.from({ length }, () => next() % limit),
        ),
      ];
    }
    const most = name.startsWith("super") ? 1e-4 : 1e-2;
    const values = Float32Array.from({ length }, () => ((next() % 1000) / 1000) * most);
    const dtype = type.dtype as FloatDType;
    return [name, scope(on, () => tensor(on, values, { shape: type.shape }).cast(dtype))];
  });
  return quantFromParts(layout, Object.fromEntries(parts));
}

const quantFormats: Readonly<Record<string, QuantFormat>> = {
  "4 bits around 8": { codeBits: 4, offset: 8, groupSize: 32, scaleDType: "f16", hasMin: false },
  "4 bits with a minimum": { codeBits: 4, offset: 0, groupSize: 32, scaleDType: "f16", hasMin: true },
  "4 bits around 7, groups of 64": {
    codeBits: 4,
    offset: 7,
    groupSize: 64,
    scaleDType: "f32",
    hasMin: false,
  },
  "6 bits, nested scales": { codeBits: 6, offset: 32, groupSize: 16, scaleDType: "i8", hasMin: false },
  "8 bits": { codeBits: 8, offset: 0, groupSize: 32, scaleDType: "f16", hasMin: false },
  "8 bits with a minimum, groups of 16": {
    codeBits: 8,
    offset: 3,
    groupSize: 16,
    scaleDType: "f32",
    hasMin: true,
  },
};

if (device === undefined) test.skip(`products joined with their neighbours on WebGPU: ${reason}`);
else {
  const values = (shape: readonly number[], seed: number, dtype: FloatDType = "f32") =>
    scope(device, () => randn(device, shape, { seed }).cast(dtype));

  /** Compares a compiled function with the same ops one by one, and leaves no memory behind. */
  async function compare(
    fn: (x: Tensor) => Tensor,
    x: Tensor,
    { launches, tolerance }: { readonly launches: readonly string[]; readonly tolerance: number },
  ): Promise<void> {
    const before = device?.memory().buffers;
    const compiled = compile(fn);
    {
      using joined = compiled(x);
      using plain = scope(x.device, () => fn(x));
      expect(launchesOf(compiled)).toEqual(launches);
      expect(await difference(joined, plain)).toBeLessThanOrEqual(tolerance);
    }
    compiled.dispose();
    expect(device?.memory().buffers).toBe(before);
  }

  describe.each(["f32", "f16"] as const)("dense weights in %s", (dtype) => {
    const tolerance = tolerances[dtype] ?? 0;
    test.each([
      [1, 64, 96],
      [3, 2056, 8],
    ])("feed-forward blocks of %i rows, %i to %i features", async (M, E, F) => {
      const x = values([M, 1, E], 1, dtype);
      const [gain, shift, bias] = [values([E], 2, dtype), values([E], 3, dtype), values([F], 4, dtype)];
      const [gate, up, down] = [values([F, E], 5, dtype), values([F, E], 6, dtype), values([E, F], 7, dtype)];
      const gated = (x: Tensor) => {
        const normed = rmsNorm(x, gain, { offset: 1 });
        return add(x, linear(swiGLU(linear(normed, gate), linear(normed, up)), down));
      };
      await compare(gated, x, { launches: ["rmsNorm+matmul+fused", "matmul+fused"], tolerance });
      const plain = (x: Tensor) => {
        const normed = layerNorm(x, { weight: gain, bias: shift });
        return add(x, linear(gelu(linear(normed, up, bias), { approximate: "tanh" }), down, shift));
      };
      await compare(plain, x, { launches: ["layerNorm+matmul+fused", "matmul+fused"], tolerance });
      disposeTree([x, gain, shift, bias, gate, up, down]);
    });

    test("rows beyond those of a workgroup", async () => {
      const x = values([19, 1, 64], 1, dtype);
      const [gain, shift] = [values([64], 2, dtype), values([64], 3, dtype)];
      const [up, down] = [values([32, 64], 6, dtype), values([64, 32], 7, dtype)];
      for (const norm of ["rms", "layer"] as const) {
        const block = (x: Tensor) => {
          const normed = norm === "rms" ? rmsNorm(x, gain) : layerNorm(x, { weight: gain, bias: shift });
          return add(x, linear(gelu(linear(normed, up)), down));
        };
        const launches = [`${norm}Norm+matmul+fused`, "matmul+fused"];
        await compare(block, x, { launches, tolerance });
      }
      disposeTree([x, gain, shift, up, down]);
    });

    test("what others read stays", async () => {
      const x = values([1, 1, 64], 1, dtype);
      const [gain, w] = [values([64], 2, dtype), values([64, 64], 3, dtype)];
      // The norm's result and the product's are read twice: nothing joins.
      const fn = (x: Tensor) => {
        const normed = rmsNorm(x, gain);
        const y = linear(normed, w);
        return add(rmsNorm(y, gain), add(normed, y));
      };
      await compare(fn, x, { launches: ["rmsNorm", "matmul", "rmsNorm", "fused"], tolerance });
      disposeTree([x, gain, w]);
    });
  });

  describe("quantised weights", () => {
    test.each(Object.entries(quantFormats))("%s", async (_name, format) => {
      for (const [M, E, F] of [[2, 164, 48]] as const) {
        const [x, gain] = [values([M, 1, E], 1), values([E], 2)];
        const make = (outFeatures: number, inFeatures: number, seed: number) =>
          randomQuant(device, format, { outFeatures, inFeatures, seed });
        const [gate, up, down] = [make(F, E, 3), make(F, E, 4), make(E, F, 5)];
        const fn = (x: Tensor) => {
          const normed = rmsNorm(x, gain);
          return add(x, linear(swiGLU(linear(normed, gate), linear(normed, up)), down));
        };
        // Rounded x is the same; sums are added up in another order.
        const launches = ["rmsNorm+quantLinear+fused", "quantLinear+fused"];
        await compare(fn, x, { launches, tolerance: 2e-6 });
        disposeTree([x, gain, gate, up, down]);
      }
    });
  });

  describe("heads are rotated and stored as they are made", () => {
    const [E, H, G, D] = [64, 4, 2, 32];
    const weights = (kind: string): readonly LinearWeight[] => {
      const make = (outFeatures: number, seed: number): LinearWeight => {
        const format = quantFormats[kind];
        if (format !== undefined) return randomQuant(device, format, { outFeatures, inFeatures: E, seed });
        return values([outFeatures, E], seed, kind as FloatDType);
      };
      return [make(H * D, 3), make(G * D, 4), make(G * D, 5)];
    };
    test.each([
      ["f32", "half", 1, 32],
      ["f16", "half", 3, 32],
      ["f16", "interleaved", 2, 16],
      ["4 bits around 8", "half", 1, 32],
      ["8 bits", "half", 2, 32],
      ["8 bits", "interleaved", 1, 24],
    ] as const)("%s, %s, %i rows, %i turning", async (kind, layout, B, rotaryDim) => {
      const dtype = kind === "f16" ? "f16" : "f32";
      const [x, gain] = [values([B, 1, E], 1, dtype), values([E], 2, dtype)];
      const [query, key, value] = weights(kind) as [LinearWeight, LinearWeight, LinearWeight];
      const integers = (numbers: readonly number[]) => tensor(device, Int32Array.from(numbers));
      const starts = integers([5, 0, 9].slice(0, B));
      // The last row has no slot: nothing is stored for it.
      const slots = integers([1, 0, 7].slice(0, B));
      const caches = [0, 1].map(() =>
        createKvCache(device, {
          numLayers: 1,
          numSlots: 2,
          maxSeqLen: 16,
          numKvHeads: G,
          headDim: D,
          dtype,
        }),
      );
      const frequencies = ropeFrequencies({ rotaryDim, theta: 100 });
      const step = (cache: (typeof caches)[number], x: Tensor, starts: Tensor, slots: Tensor): Tensor => {
        const normed = rmsNorm(x, gain);
        const heads = (weight: LinearWeight, count: number) =>
          linear(normed, weight).reshape([B, count, 1, D]);
        const turned = (x: Tensor) => rotary(x, { positions: starts.reshape([B, 1]), frequencies, layout });
        const q = turned(heads(query, H));
        const layer = cache.layers[0];
        if (layer === undefined) throw new Error("the cache has a layer");
        appendKv(layer, turned(heads(key, G)), heads(value, G), { slots, starts });
        return q;
      };
      const compiled = compile(step);
      const [first, second] = caches as [(typeof caches)[number], (typeof caches)[number]];
      using joined = compiled(first, x, starts, slots);
      using plain = scope(device, () => step(second, x, starts, slots));
      // Adapters that bind few buffers at once store quantised heads apart.
      const launches = launchesOf(compiled) ?? [];
      const isWhole = (device.limits.maxLaunchBuffers ?? 0) >= 16 || quantFormats[kind] === undefined;
      expect(launches.slice(0, 1)).toEqual([
        expect.stringMatching(isWhole ? /^rmsNorm\+.*\+rotary\+appendKv$/ : /^rmsNorm\+/),
      ]);
      if (isWhole) expect(launches.length).toBe(1);
      const tolerance = tolerances[dtype] ?? 0;
      expect(await difference(joined, plain)).toBeLessThanOrEqual(tolerance);
      for (const part of ["key", "value"] as const) {
        const [a, b] = [first.layers[0]?.[part], second.layers[0]?.[part]];
        if (a === undefined || b === undefined) throw new Error("a cache has keys and values");
        expect(await difference(a, b)).toBeLessThanOrEqual(tolerance);
      }
      compiled.dispose();
      disposeTree([x, gain, query, key, value, starts, slots, caches]);
    });
  });
}
