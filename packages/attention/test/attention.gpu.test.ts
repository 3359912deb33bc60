import { type Device, randn, reference, type Tensor, tensor, valueAndGrad } from "@heddle/tensor";
import { afterAll, describe, expect, test } from "vitest";
import { findDevice } from "../../gpu/test/find-device.js";
import {
  allOf,
  anyOf,
  appendKv,
  attention,
  attentionWithLse,
  blockSparse,
  type CachedAttentionOptions,
  cachedAttention,
  causal,
  chunked,
  columns,
  createKvCache,
  createPagedKvCache,
  createQuantisedKvCache,
  createSlidingKvCache,
  cropSlot,
  crossAttention,
  documentIds,
  documents,
  firstKeys,
  type KvCache,
  type KvLayer,
  type Mask,
  padding,
  prefix,
  queries,
  restoreSlot,
  saveSlot,
  slidingWindow,
  strided,
  tensorMask,
} from "../src/index.js";
import { worstExcess } from "./devices.js";
import {
  type Arrays,
  caseArrays,
  type GoldenCase,
  goldenCases,
  goldenOptions,
  goldenRules,
  goldenTensor,
} from "./golden/cases.js";

const { device, reason } = await findDevice();
afterAll(() => device?.dispose());

const near = (actual: ArrayLike<number>, expected: ArrayLike<number>, factor = 1) =>
  expect(worstExcess(actual, expected, factor * 1e-4)).toBeLessThanOrEqual(factor * 2e-5);

/** Gradients of sum(out * d_out) with respect to everything that has one. */
function gradients(on: Device, which: GoldenCase, arrays: Arrays) {
  const { mask, ...rules } = goldenRules(on, arrays);
  const [q, k, v] = ["q", "k", "v"].map((name) => goldenTensor(on, arrays, name)) as [Tensor, Tensor, Tensor];
  const dOut = goldenTensor(on, arrays, "d_out");
  const weights = { q, k, v, ...rules } as { q: Tensor; k: Tensor; v: Tensor; bias?: Tensor; sinks?: Tensor };
  return valueAndGrad((w: typeof weights) =>
    attention(w.q, w.k, w.v, goldenOptions(which, { ...w, ...(mask && { mask }) }))
      .mul(dOut)
      .sum(),
  )(weights).grad;
}

/** Masks of every kind for queries that are the last 40 of 70 keys, in two rows of two heads. */
const masks: Readonly<Record<string, (on: Device) => Mask>> = {
  window: () => allOf(causal(), slidingWindow(9)),
  chunks: () => allOf(causal(), chunked(16)),
  prefix: (on) => prefix(tensor(on, Int32Array.of(20, 50))),
  "strides and columns": () => anyOf(strided(7), columns(9, 2), firstKeys(3)),
  "padding and queries": (on) => anyOf(padding(flags(on, [2, 70])), queries(flags(on, [2, 40]))),
  documents: (on) => {
    const ids = [...documentIds([30, 25, 10], { total: 70 }), ...documentIds([50, 20])];
    return allOf(causal(), documents(tensor(on, Int32Array.from(ids), { shape: [2, 70] })));
  },
  blocks: (on) => blockSparse(flags(on, [2, 3, 5]), { blockSize: 16 }),
  "a tensor": (on) => tensorMask(flags(on, [1, 2, 40, 70])),
};

function flags(on: Device, shape: readonly number[]): Tensor {
  const size = shape.reduce((a, b) => a * b, 1);
  const values = Uint8Array.from({ length: size }, (_, i) => (((i * 2654435761) >>> 0) % 7 < 3 ? 1 : 0));
  return tensor(on, values, { shape, dtype: "bool" });
}

if (device === undefined) test.skip(`attention on WebGPU: ${reason}`);
else {
  describe("goldens in WGSL", () => {
    test.each(goldenCases)("$name", async (which) => {
      const arrays = caseArrays(which);
      const factor = which.name === "large_logits" ? 5 : 1;
      const [q, k, v] = ["q", "k", "v"].map((name) => goldenTensor(device, arrays, name)) as [
        Tensor,
        Tensor,
        Tensor,
      ];
      const { out, lse } = attentionWithLse(q, k, v, goldenOptions(which, goldenRules(device, arrays)));
      expect(out.executedOn).toBe("wgsl");
      near(await out.data(), arrays.get("out").data, factor);
      near(await lse.data(), arrays.get("lse").data, factor);
      for (const [name, gradient] of Object.entries(gradients(device, which, arrays))) {
        if (gradient === undefined || !arrays.has(`d_${name}`)) continue;
        near(await gradient.data(), arrays.get(`d_${name}`).data, factor);
      }
    });
  });

  // The backward kernels decide by the same function: those of one rule that tells of its tiles and of one that is looked at.
  test.each(Object.entries(masks))("mask in WGSL: %s", async (name, mask) => {
    const run = async (on: Device) => {
      const weights = {
        q: randn(on, [2, 2, 40, 6], { seed: 1 }),
        k: randn(on, [2, 1, 70, 6], { seed: 2 }),
        v: randn(on, [2, 1, 70, 5], { seed: 3 }),
      };
      const made = mask(on);
      const loss = (w: typeof weights) => attention(w.q, w.k, w.v, { mask: made }).square().sum();
      if (name !== "window" && name !== "documents") return [await loss(weights).data()];
      const { value, grad } = valueAndGrad(loss)(weights);
      return Promise.all([value, grad.q, grad.k, grad.v].map((x) => x.data()));
    };
    const [actual, expected] = [await run(device), await run(reference())];
    actual.forEach((values, i) => {
      near(values, expected[i] ?? [], i === 0 ? 1 : 4);
    });
  });

  test.each([
    ["one row", 1],
    ["a row a head", 4],
  ])("a bias by distance, its gradient included: %s", async (_, rows) => {
    const run = (on: Device) => {
      const weights = {
        q: randn(on, [2, 4, 20, 6], { seed: 1 }),
        k: randn(on, [2, 2, 45, 6], { seed: 2 }),
        v: randn(on, [2, 2, 45, 5], { seed: 3 }),
        distanceBias: randn(on, [rows, 64], { seed: 4 }),
      };
      const attend = ({ q, k, v, distanceBias }: typeof weights) =>
        attention(q, k, v, { mask: causal(), softcap: 2, distanceBias });
      const { grad } = valueAndGrad((w: typeof weights) => attend(w).square().sum())(weights);
      // Without a gradient of its own the bias leaves the gradients of the rest to the kernels.
      const { distanceBias, ...heads } = weights;
      const fixed = valueAndGrad((w: typeof heads) =>
        attend({ ...w, distanceBias })
          .square()
          .sum(),
      )(heads);
      return { out: attend(weights), grad, fixed: fixed.grad };
    };
    const [actual, expected] = [run(device), run(reference())];
    expect(actual.out.executedOn).toBe("wgsl");
    expect(actual.fixed.q.executedOn).toBe("wgsl");
    near(await actual.out.data(), await expected.out.data());
    for (const name of ["q", "k", "v", "distanceBias"] as const)
      near(await actual.grad[name].data(), await expected.grad[name].data(), 4);
    for (const name of ["q", "k", "v"] as const)
      near(await actual.fixed[name].data(), await expected.fixed[name].data(), 4);
  });

  test("gradients of heads so wide that tiles are smaller than the threads of a workgroup", async () => {
    const run = (on: Device) => {
      const weights = {
        q: randn(on, [1, 1, 9, 256], { seed: 1 }),
        k: randn(on, [1, 1, 11, 256], { seed: 2 }),
        v: randn(on, [1, 1, 11, 254], { seed: 3 }),
      };
      const loss = (w: typeof weights) => attention(w.q, w.k, w.v, { mask: causal() }).square().sum();
      return valueAndGrad(loss)(weights).grad;
    };
    const [actual, expected] = [run(device), run(reference())];
    for (const name of ["q", "k", "v"] as const) {
      expect(actual[name].executedOn).toBe("wgsl");
      near(await actual[name].data(), await expected[name].data(), 4);
    }
  });

  describe("cached attention in WGSL", () => {
    interface Heads {
      readonly headDim: number;
      readonly valueDim: number;
    }
    // Rows of eights are read whole and split between workgroups; others go another way.
    const odd: Heads = { headDim: 10, valueDim: 6 };
    const eights: Heads = { headDim: 24, valueDim: 16 };
    type Create = (on: Device, heads: Heads) => KvCache<KvLayer>;
    const common = { numLayers: 1, numSlots: 3, numKvHeads: 2 };
    const caches: Record<string, Create> = {
      contiguous: (on, heads) => createKvCache(on, { ...common, ...heads, maxSeqLen: 300 }),
      "half precision": (on, heads) =>
        createKvCache(on, { ...common, ...heads, maxSeqLen: 300, dtype: "f16" }),
      sliding: (on, heads) => createSlidingKvCache(on, { ...common, ...heads, window: 45, maxNewTokens: 90 }),
      paged: (on, heads) => {
        const sizes = { ...common, ...heads };
        const made = createPagedKvCache(on, { ...sizes, maxSeqLen: 304, numPages: 40, pageSize: 16 });
        made.reserve(1, { from: 0, to: 250 });
        made.crop(1, 20);
        made.reserve(2, { from: 0, to: 30 });
        made.reserve(1, { from: 20, to: 250 });
        return made.cache;
      },
    };
    for (const bits of [8, 4] as const) {
      caches[`${bits} bits`] = (on, heads) =>
        createQuantisedKvCache(on, { ...common, ...heads, maxSeqLen: 300, bits, group: 16 });
    }
    const scores = (on: Device): Omit<CachedAttentionOptions, "slots" | "starts"> => ({
      sinks: randn(on, [4], { seed: 7 }),
      distanceBias: randn(on, [4, 304], { seed: 8 }),
      softcap: 2,
    });
    const run = (on: Device, create: Create, { tokens, heads }: { tokens: number; heads: Heads }) => {
      const layer = create(on, heads).layers[0] as KvLayer;
      const k = randn(on, [1, 2, 250, heads.headDim], { seed: 1 });
      const v = randn(on, [1, 2, 250, heads.valueDim], { seed: 2 });
      const q = randn(on, [1, 4, tokens, heads.headDim], { seed: 3 });
      const slots = tensor(on, Int32Array.of(1));
      for (let from = 0; from < 250; from += 50) {
        const starts = tensor(on, Int32Array.of(from));
        appendKv(layer, k.narrow(2, from, from + 50), v.narrow(2, from, from + 50), { slots, starts });
      }
      return { q, layer, slots, starts: tensor(on, Int32Array.of(250 - tokens)) };
    };

    test.each(Object.entries(caches))("%s", async (_, create) => {
      for (const heads of [odd, eights]) {
        for (const { tokens, window } of [
          { tokens: 1, window: 300 },
          { tokens: 7, window: 40 },
        ]) {
          const attend = (on: Device) => {
            const { q, layer, slots, starts } = run(on, create, { tokens, heads });
            return cachedAttention(q, layer, { slots, starts, window, ...scores(on) });
          };
          const actual = attend(device);
          expect(actual.executedOn).toBe("wgsl");
          near(await actual.data(), await attend(reference()).data(), 2);
        }
      }
    });

    // With all scores there are more buffers than many adapters bind to a kernel, which leaves the composition.
    test.each(["8 bits", "4 bits"])("%s in few buffers", async (name) => {
      for (const heads of [odd, eights]) {
        const attend = (on: Device) => {
          const { q, layer, slots, starts } = run(on, caches[name] as Create, { tokens: 1, heads });
          const { sinks, softcap } = scores(on);
          return cachedAttention(q, layer, { slots, starts, sinks, softcap });
        };
        near(await attend(device).data(), await attend(reference()).data(), 2);
      }
    });

    test("a quantised slot is cropped, saved and restored", async () => {
      const go = async (on: Device) => {
        const { q, layer, slots } = run(on, caches["8 bits"] as Create, { tokens: 1, heads: eights });
        cropSlot({ layers: [layer] }, 1, { from: 250, to: 105 });
        const other = (caches["8 bits"] as Create)(on, eights);
        restoreSlot(other, 1, await saveSlot({ layers: [layer] }, 1, 105));
        const starts = tensor(on, Int32Array.of(104));
        return [layer, other.layers[0] as KvLayer].map((from) => cachedAttention(q, from, { slots, starts }));
      };
      const [actual, expected] = [await go(device), await go(reference())];
      for (const [i, out] of actual.entries()) {
        near(await out.data(), (await expected[i]?.data()) ?? [], 50);
      }
    });

    test.each(["half precision", "sliding", "paged"])("prompts of several slots: %s", async (name) => {
      const attend = (on: Device) => {
        const { layer } = run(on, caches[name] as Create, { tokens: 1, heads: eights });
        const k = randn(on, [1, 2, 30, eights.headDim], { seed: 5 });
        const v = randn(on, [1, 2, 30, eights.valueDim], { seed: 6 });
        const at = (values: readonly number[]) => tensor(on, Int32Array.from(values));
        appendKv(layer, k, v, { slots: at([2]), starts: at([0]) });
        // 60 rows of one slot, 20 of another, and two that are nowhere.
        const rows = Array.from({ length: 82 }, (_, i) =>
          i < 60 ? [1, 190 + i] : i < 80 ? [2, i - 52] : [9, 5],
        );
        const q = randn(on, [82, 4, 1, eights.headDim], { seed: 7 });
        return cachedAttention(q, layer, {
          slots: at(rows.map(([slot = 0]) => slot)),
          starts: at(rows.map(([, start = 0]) => start)),
          window: 40,
          softcap: 3,
          sinks: randn(on, [4], { seed: 8 }),
        });
      };
      const actual = attend(device);
      expect(actual.executedOn).toBe("wgsl");
      near(await actual.data(), await attend(reference()).data(), 2);
    });

    test("queries in half precision", async () => {
      const attend = (on: Device, dtype: "f16" | "bf16") => {
        const { q, layer, slots, starts } = run(on, caches["half precision"] as Create, {
          tokens: 2,
          heads: eights,
        });
        const out = cachedAttention(q.cast(dtype), layer, { slots, starts });
        expect(out.dtype).toBe(dtype);
        return out;
      };
      for (const dtype of ["f16", "bf16"] as const) {
        const actual = attend(device, dtype);
        expect(actual.executedOn).toBe("wgsl");
        // One step of the result's own rounding.
        const tolerance = dtype === "f16" ? 1e-3 : 8e-3;
        const expected = await attend(reference(), dtype).data();
        expect(worstExcess(await actual.data(), expected, tolerance)).toBeLessThanOrEqual(tolerance / 10);
      }
    });

    test.each([
      ["odd", odd],
      ["eights", eights],
    ] as const)("all keys, chunks, and what lies outside: %s", async (_, heads) => {
      const at = run(device, caches.contiguous as Create, { tokens: 3, heads });
      const to = run(reference(), caches.contiguous as Create, { tokens: 3, heads });
      const lengths = (on: Device) => tensor(on, Int32Array.of(100));
      const cross = crossAttention(at.q, at.layer, { slots: at.slots, lengths: lengths(device) });
      const expected = attention(
        to.q,
        randn(to.q.device, [1, 2, 250, heads.headDim], { seed: 1 }).narrow(2, 0, 100),
        randn(to.q.device, [1, 2, 250, heads.valueDim], { seed: 2 }).narrow(2, 0, 100),
      );
      near(await cross.data(), await expected.data());
      const options = { slots: at.slots, starts: at.starts, chunk: 64 };
      const chunk = cachedAttention(at.q, at.layer, options);
      near(
        await chunk.data(),
        await cachedAttention(to.q, to.layer, { ...options, slots: to.slots, starts: to.starts }).data(),
      );
      for (const slot of [-1, 3]) {
        const none = cachedAttention(at.q, at.layer, {
          slots: tensor(device, Int32Array.of(slot)),
          starts: at.starts,
          sinks: randn(device, [4], { seed: 1 }),
        });
        expect(Array.from(await none.data()).every((x) => x === 0)).toBe(true);
      }
    });
  });
}
