import { cpu, type Device, randn, reference, scope, type Tensor, tensor, valueAndGrad } from "@heddle/tensor";
import { afterAll, describe, expect, test } from "vitest";
import { describeCache } from "../test/conformance.js";
import { worstExcess } from "../test/devices.js";
import {
  appendLatents,
  cachedLatentAttention,
  createLatentCache,
  type LatentForm,
  type LatentKvLayer,
  latentAttention,
  splitLatentProjection,
} from "./latent.js";
import { causal } from "./masks.js";

/** The identity for each head: then content is latent, and values are latents. */
function identities(device: Device, numHeads: number, width: number): Tensor {
  const values = Float64Array.from({ length: numHeads * width * width }, (_, i) =>
    Math.floor(i / width) % width === i % width ? 1 : 0,
  );
  return tensor(device, values, { shape: [numHeads, width, width], dtype: device.defaultFloat });
}

describeCache<LatentKvLayer>({
  name: "latent",
  valueIsKey: true,
  create(device, { numSlots, maxSeqLen, headDim, valueDim }) {
    const sizes = { numLayers: 1, numSlots, maxSeqLen, latentDim: valueDim, rotatedDim: headDim - valueDim };
    return createLatentCache(device, sizes).layers[0] as LatentKvLayer;
  },
  append: (layer, key, _, rows) =>
    scope(key.device, () => {
      const width = layer.latentDim;
      const parts = { latent: key.narrow(3, 0, width), rotated: key.narrow(3, width, key.shape[3] ?? 0) };
      appendLatents(layer, parts, rows);
      return undefined;
    }),
  attend: (query, layer, rows) =>
    scope(query.device, () => {
      const width = layer.latentDim;
      const content = query.narrow(3, 0, width);
      const rotated = query.narrow(3, width, query.shape[3] ?? 0);
      const same = identities(query.device, query.shape[1] ?? 0, width);
      const weights = { keyUp: same, valueUp: same };
      return cachedLatentAttention({ content, rotated }, layer, { ...rows, weights });
    }),
});

describe("latent attention", () => {
  const [slow, fast] = [reference(), cpu({ threads: 2 })];
  afterAll(() => fast.dispose());

  const inputs = (device: Device) => ({
    content: randn(device, [2, 4, 20, 6], { seed: 1 }),
    rotated: randn(device, [2, 4, 20, 4], { seed: 2 }),
    latent: randn(device, [2, 1, 20, 9], { seed: 3 }),
    rotatedKey: randn(device, [2, 1, 20, 4], { seed: 4 }),
    projection: randn(device, [4 * (6 + 5), 9], { seed: 5 }),
  });
  type Inputs = ReturnType<typeof inputs>;
  const run = ({ content, rotated, latent, rotatedKey, projection }: Inputs, form: LatentForm) => {
    const weights = splitLatentProjection(projection, { numHeads: 4, contentDim: 6 });
    const keys = { latent, rotated: rotatedKey };
    return latentAttention({ content, rotated }, keys, { weights, form, mask: causal() });
  };

  test("the absorbed form equals the expanded one, values and gradients, on both devices", () => {
    const gradients = (device: Device, form: LatentForm) =>
      valueAndGrad((w: Inputs) => run(w, form).square().sum())(inputs(device)).grad;
    const expected = gradients(slow, "expanded");
    for (const [device, tolerance] of [
      [slow, 1e-9],
      [fast, 1e-3],
    ] as const) {
      expect(run(inputs(device), "absorbed").shape).toEqual([2, 4, 20, 5]);
      const [out, other] = [run(inputs(device), "absorbed"), run(inputs(device), "expanded")];
      expect(worstExcess(out.dataSync(), other.dataSync(), tolerance / 10)).toBeLessThan(tolerance / 10);
      const found = gradients(device, "absorbed");
      for (const name of Object.keys(expected) as (keyof Inputs)[]) {
        expect(worstExcess(found[name].dataSync(), expected[name].dataSync(), tolerance), name).toBeLessThan(
          tolerance,
        );
      }
    }
  });

  test("errors name the rule, the values and the cure", () => {
    const { content, rotated, latent, rotatedKey, projection } = inputs(slow);
    const weights = splitLatentProjection(projection, { numHeads: 4, contentDim: 6 });
    expect(() =>
      splitLatentProjection(projection, { numHeads: 3, contentDim: 6 }),
    ).toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: splitLatentProjection: weight must be [numHeads (contentDim + valueDim), latentDim]; got weight [44, 9], numHeads 3, contentDim 6. Take the sizes from the model's config (qk_nope_head_dim, v_head_dim).]`,
    );
    expect(() =>
      latentAttention(
        { content, rotated },
        { latent: latent.reshape([2, 20, 9]), rotated: rotatedKey },
        { weights },
      ),
    ).toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: latentAttention: query must be [B, H, T, Dn] and [B, H, T, Dr], keyUp [H, Dn, R], valueUp [H, Dv, R], keys [B, 1, S, R] and [B, 1, S, Dr]; got content [2, 4, 20, 6], rotated [2, 4, 20, 4], keyUp [4, 6, 9], valueUp [4, 5, 9], latent [2, 20, 9], rotated key [2, 1, 20, 4]. Give latents an axis of one head.]`,
    );
    expect(() =>
      createLatentCache(slow, { numLayers: 1, numSlots: 1, maxSeqLen: 8, latentDim: 0, rotatedDim: 4 }),
    ).toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: createLatentCache: latentDim must be a whole number above 0; got latentDim 0. Take it from the model's config.]`,
    );
  });
});
