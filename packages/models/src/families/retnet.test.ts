// No golden model of transformers: the layers are written out in loops, as TorchScale's recurrent form has them.
import { memorySink, memorySource } from "@heddle/checkpoints";
import { cpu, type Device, mapTree, randn, reference, scope, type Tensor } from "@heddle/tensor";
import { describe, expect, test } from "vitest";
import { relativeError } from "../../test/relative-error.js";
import { shows } from "../../test/shows.js";
import { generate } from "../generation/generate.js";
import { type AnyModel, loadAnyModel } from "../loading/load-model.js";
import { parseModelConfig } from "../loading/parse-config.js";
import { saveModel } from "../loading/save-model.js";
import type { RecurrentConfig } from "../recurrent/config.js";
import type { RecurrentWeights } from "../recurrent/recurrent.js";
import { recurrent } from "../recurrent/recurrent-architecture.js";
import { createRecurrentDecoder } from "../recurrent/recurrent-decoder.js";

const json = {
  model_type: "retnet",
  vocab_size: 40,
  decoder_embed_dim: 24,
  decoder_value_embed_dim: 36,
  decoder_ffn_embed_dim: 20,
  decoder_layers: 2,
  decoder_retention_heads: 3,
  activation_fn: "swish",
  layernorm_embedding: true,
  no_scale_embedding: false,
  // What published files say besides.
  forward_impl: "parallel",
  recurrent_chunk_size: 512,
  subln: true,
  use_lm_decay: false,
  z_loss_coeff: 0,
};
const ids = [3, 1, 4, 1, 5, 9, 2, 6, 5, 35, 8];

/** A directory with random weights, and the model in it. */
async function directory(
  device: Device,
): Promise<{ files: Readonly<Record<string, Uint8Array>>; model: AnyModel }> {
  const config = parseModelConfig(json) as RecurrentConfig;
  let seed = 0;
  const make = (path: string, shape: readonly number[]) => {
    const isNorm = /norm\.weight$/i.test(path);
    return scope(device, () =>
      randn(device, shape, { seed: ++seed })
        .mul(isNorm ? 0.2 : 0.3)
        .add(isNorm ? 1 : 0),
    );
  };
  const weights = recurrent.buildWeights(config, make);
  const sink = memorySink();
  await saveModel(sink, { config, weights });
  mapTree<Tensor, RecurrentWeights>(weights, (leaf) => {
    leaf.dispose();
    return leaf;
  });
  return { files: sink.files, model: await loadAnyModel(memorySource(sink.files), { device }) };
}

type Vector = readonly number[];
const dot = (a: Vector, b: Vector) => a.reduce((sum, value, at) => sum + value * (b[at] ?? 0), 0);
const rms = (x: Vector, weight?: Vector) => {
  const scale = 1 / Math.sqrt(dot(x, x) / x.length + 1e-6);
  return x.map((value, at) => value * scale * (weight?.[at] ?? 1));
};
const swish = (value: number) => value / (1 + Math.exp(-value));

/** Logits of every token, token by token. */
async function inLoops({ weights }: { readonly weights: unknown }): Promise<number[][]> {
  const read = new Map<string, readonly Vector[]>();
  const reads: Promise<void>[] = [];
  mapTree<Tensor, RecurrentWeights>(weights as RecurrentWeights, (leaf, path) => {
    const width = leaf.shape.at(-1) ?? 1;
    const rows = async () => {
      const data = await leaf.data();
      const count = data.length / width;
      read.set(
        path,
        Array.from({ length: count }, (_, row) => [...data.subarray(row * width, (row + 1) * width)]),
      );
    };
    reads.push(rows());
    return leaf;
  });
  await Promise.all(reads);
  const matrix = (path: string) => read.get(path) ?? [];
  const vector = (path: string) => matrix(path)[0] ?? [];
  const times = (path: string, x: Vector) => matrix(path).map((row) => dot(row, x));
  const [headDim, valueDim] = [8, 12];
  const states = [0, 1].map(() =>
    [0, 1, 2].map(() => ({
      kv: Array.from({ length: valueDim }, () => Array(headDim).fill(0) as number[]),
      scale: 0,
    })),
  );
  const turned = (x: Vector, position: number) => {
    const angle = (at: number) => position / 10_000 ** (Math.floor(at / 2) / (headDim / 2 - 1));
    return x.map((value, at) => {
      const other = at % 2 === 0 ? -(x[at + 1] ?? 0) : (x[at - 1] ?? 0);
      return value * Math.cos(angle(at)) + other * Math.sin(angle(at));
    });
  };
  return ids.map((id, position) => {
    const embedded = (matrix("embedding")[id] ?? []).map((value) => value * Math.sqrt(24));
    let x = rms(embedded, vector("embeddingNorm.weight"));
    for (const [layer, heads] of states.entries()) {
      const at = `layers.${layer}.retention`;
      const normed = rms(x, vector(`${at}.attentionNorm.weight`));
      const [q, k, v, g] = ["query", "key", "value", "gate"].map((name) =>
        times(`${at}.retention.${name}.weight`, normed),
      );
      const kept = heads.flatMap((state, head) => {
        const decay = 1 - 2 ** (-5 - head);
        const cut = (values: Vector | undefined, width: number) =>
          (values ?? []).slice(head * width, (head + 1) * width);
        const query = turned(cut(q, headDim), position);
        const key = turned(
          cut(k, headDim).map((value) => value / Math.sqrt(headDim)),
          position,
        );
        const scale = state.scale * decay + 1;
        const fade = (Math.sqrt(state.scale) * decay) / Math.sqrt(scale);
        state.kv = state.kv.map((row, j) =>
          row.map(
            (value, i) => value * fade + ((key[i] ?? 0) * (cut(v, valueDim)[j] ?? 0)) / Math.sqrt(scale),
          ),
        );
        state.scale = scale;
        return rms(state.kv.map((row) => dot(row, query)));
      });
      const mixed = kept.map((value, i) => swish(g?.[i] ?? 0) * value);
      x = times(`${at}.retention.output.weight`, mixed).map((value, i) => value + (x[i] ?? 0));
      const fed = rms(x, vector(`${at}.mlpNorm.weight`));
      const up = times(`${at}.mlp.up.weight`, fed);
      const open = times(`${at}.mlp.gate.weight`, fed).map((value, i) => swish(value) * (up[i] ?? 0));
      x = times(`${at}.mlp.down.weight`, open).map((value, i) => value + (x[i] ?? 0));
    }
    return times("unembedding", rms(x, vector("norm.weight")));
  });
}

describe.each([
  { name: "reference", make: () => reference(), tolerance: 1e-9 },
  { name: "cpu", make: () => cpu({ threads: 1 }), tolerance: 1e-4 },
])("RetNet on $name", ({ make, tolerance }) => {
  test(
    "logits of a directory are those of the definition, token by token",
    shows("retnet", "forward"),
    async () => {
      const device = make();
      const { model } = await directory(device);
      using logits = model.logits({ ids: [ids] });
      const expected = await inLoops(model);
      expect(logits.shape).toEqual([1, ids.length, 40]);
      expect(relativeError(await logits.data(), expected.flat())).toBeLessThan(tolerance);
      model.dispose();
    },
  );

  test(
    "greedy ids from a state of fixed size are those of the whole text run again",
    shows("retnet", "generate"),
    async () => {
      const device = make();
      const { model } = await directory(device);
      const made: number[] = [];
      for await (const { id } of generate(model, ids, { temperature: 0, maxTokens: 10 })) made.push(id);
      const text = [...ids];
      for (const id of made) {
        using logits = model.logits({ ids: [text] });
        const data = await logits.data();
        const last = [...data.subarray(data.length - 40)];
        expect(last.indexOf(Math.max(...last))).toBe(id);
        text.push(id);
      }
      expect(made.length).toBe(10);
      model.dispose();
      expect(device.memory().buffers).toBe(0);
    },
  );
});

test("what is kept does not grow with a text", async () => {
  const { model } = await directory(reference());
  const config = model.config as RecurrentConfig;
  const weights = model.weights as RecurrentWeights;
  const decoder = createRecurrentDecoder({ config, weights, device: model.device }, { numSlots: 1 });
  // Two layers of 3 heads of 8 by 12 numbers, and those that fill up a plan.
  expect(decoder.cacheBytes).toBeLessThanOrEqual(2 * 2 * 3 * 8 * 12 * 8);
  expect(decoder.maxSeqLen).toBeGreaterThanOrEqual(2 ** 20);
  decoder.dispose();
  model.dispose();
});

test(
  "config.json is written as it was read, and other layers than the published ones are refused",
  shows("retnet", "load, save"),
  async () => {
    const { files, model } = await directory(reference());
    const written = JSON.parse(new TextDecoder().decode(files["config.json"]));
    const { forward_impl, recurrent_chunk_size, subln, use_lm_decay, z_loss_coeff, ...meant } = json;
    expect(written).toMatchObject(meant);
    expect(parseModelConfig(written)).toEqual(model.config);
    for (const other of [
      { use_glu: false },
      { deepnorm: true },
      { use_lm_decay: true },
      { decoder_normalize_before: false },
    ])
      expect(() => parseModelConfig({ ...json, ...other })).toThrow(Object.keys(other)[0]);
    expect(() => parseModelConfig({ ...json, decoder_embed_dim: 27 })).toThrow(
      "decoder_embed_dim must be a multiple",
    );
  },
);
