import { prefix } from "@heddle/attention";
import { memorySink, memorySource } from "@heddle/checkpoints";
import { disposeTree, mapTree, randn, reference, type Tensor, tensor } from "@heddle/tensor";
import { expect, test } from "vitest";
import {
  alibiSlope,
  attend,
  dot,
  geluTanh,
  layerNorm,
  plus,
  product,
  rms,
  StoredNumbers,
  silu,
  turn,
  type Vector,
} from "../../test/brute-force.js";
import { relativeError } from "../../test/relative-error.js";
import { shows } from "../../test/shows.js";
import { fullAttend } from "../blocks/attend.js";
import type { DecoderConfig } from "../config.js";
import { batchInputs } from "../decoder/batch-inputs.js";
import { createDecoder } from "../decoder/create-decoder.js";
import { decoderLogits } from "../decoder/decoder.js";
import { initWeights } from "../loading/init-weights.js";
import { loadModel } from "../loading/load-model.js";
import { parseConfig } from "../loading/parse-config.js";
import { saveModel } from "../loading/save-model.js";
import type { DecoderWeights } from "../weights.js";

// Families without golden data: their published definition, written out in loops over a checkpoint's own tensors.

const ids = [3, 17, 5, 8, 8, 30, 2, 11, 19];
const hidden = Number.NEGATIVE_INFINITY;
const causal = (i: number, j: number) => (j <= i ? 0 : hidden);

const llamaShape = {
  vocab_size: 40,
  hidden_size: 24,
  intermediate_size: 20,
  num_hidden_layers: 3,
  num_attention_heads: 4,
  rms_norm_eps: 1e-5,
};

/** A checkpoint with every weight drawn at random, as files. */
async function randomCheckpoint(config: DecoderConfig): Promise<Readonly<Record<string, Uint8Array>>> {
  const device = reference();
  const fresh = initWeights(config, device, { seed: 1, dtype: "f32" });
  const weights = mapTree<Tensor, DecoderWeights>(fresh, (leaf, path) => {
    const drawn = randn(device, leaf.shape, { seed: path.length * 31 + leaf.size, dtype: "f32" });
    return leaf.rank > 1 ? drawn.mul(0.4) : drawn.mul(0.3).add(path.endsWith("bias") ? 0 : 1);
  });
  const sink = memorySink();
  await saveModel(sink, { config, weights });
  return sink.files;
}

/** Logits of the ids by Heddle, whole and one after another through the cache, which must agree. */
async function computed(files: Readonly<Record<string, Uint8Array>>): Promise<number[]> {
  const device = reference();
  const model = await loadModel(memorySource(files), { device });
  const inputs = batchInputs(model, [ids]);
  const logits = model.forward(inputs);
  const whole = Array.from(await logits.data());
  const decoder = createDecoder(model, { numSlots: 1 });
  const rows: number[] = [];
  for (const [at, id] of ids.entries()) {
    const [row = new Float32Array(0)] = await decoder.step({
      tokens: Int32Array.of(id),
      positions: Int32Array.of(at),
      slots: Int32Array.of(0),
      outputs: Int32Array.of(0),
    });
    rows.push(...row);
  }
  expect(relativeError(rows, whole)).toBeLessThan(1e-6);
  decoder.dispose();
  inputs.dispose();
  disposeTree(logits);
  model.dispose();
  expect(device.memory().buffers).toBe(0);
  return whole;
}

interface LlamaLike {
  /** Default 4. */
  readonly numHeads?: number;
  /** Query, key and value matrices of a layer. */
  projections(layer: number): readonly (readonly Vector[])[];
  numKvHeads(layer: number): number;
  readonly isRotary: boolean;
  bias(head: number, i: number, j: number): number;
  readonly head: readonly Vector[];
}

/** Logits of every token of a decoder with Llama's blocks. */
function llamaLogits(stored: StoredNumbers, model: LlamaLike): number[] {
  const { numHeads = 4 } = model;
  const { num_hidden_layers: numLayers } = llamaShape;
  const headDim = llamaShape.hidden_size / numHeads;
  const embedding = stored.rows("model.embed_tokens.weight");
  let states: readonly Vector[] = ids.map((id) => embedding[id] ?? []);
  for (let layer = 0; layer < numLayers; layer++) {
    const name = (rest: string) => `model.layers.${layer}.${rest}.weight`;
    const norm = (x: Vector, which: string) => rms(x, stored.vector(name(which)), llamaShape.rms_norm_eps);
    const [query = [], key = [], value = []] = model.projections(layer);
    const turned = (x: number[], position: number) =>
      model.isRotary
        ? Array.from({ length: x.length / headDim }, (_, h) =>
            turn(x.slice(h * headDim, (h + 1) * headDim), position),
          ).flat()
        : x;
    const normed = states.map((x) => norm(x, "input_layernorm"));
    const seen = attend({
      numHeads,
      numKvHeads: model.numKvHeads(layer),
      queries: normed.map((x, at) => turned(product(query, x), at)),
      keys: normed.map((x, at) => turned(product(key, x), at)),
      values: normed.map((x) => product(value, x)),
      bias: model.bias,
    });
    states = states.map((x, at) => {
      const attended = plus(x, product(stored.rows(name("self_attn.o_proj")), seen[at] ?? []));
      const fed = norm(attended, "post_attention_layernorm");
      const gate = product(stored.rows(name("mlp.gate_proj")), fed).map(silu);
      const up = product(stored.rows(name("mlp.up_proj")), fed);
      const open = gate.map((g, i) => g * (up[i] ?? 0));
      return plus(attended, product(stored.rows(name("mlp.down_proj")), open));
    });
  }
  const last = stored.vector("model.norm.weight");
  return states.flatMap((x) => product(model.head, rms(x, last, llamaShape.rms_norm_eps)));
}

/** Baichuan's W_pack: rows of the query, then of the key, then of the value. */
const packed = (stored: StoredNumbers) => (layer: number) =>
  [0, 1, 2].map((part) =>
    stored.rows(`model.layers.${layer}.self_attn.W_pack.weight`, part * 24, (part + 1) * 24),
  );

test(
  "Baichuan 7B: packed projections, rotary positions",
  shows("baichuan", "load, save", "forward", "generate"),
  async () => {
    const json = { ...llamaShape, model_type: "baichuan", max_position_embeddings: 16 };
    const files = await randomCheckpoint(parseConfig(json));
    const stored = await StoredNumbers.read(files);
    const expected = llamaLogits(stored, {
      projections: packed(stored),
      numKvHeads: () => 4,
      isRotary: true,
      bias: (_, i, j) => causal(i, j),
      head: stored.rows("lm_head.weight"),
    });
    expect(relativeError(await computed(files), expected)).toBeLessThan(1e-6);
  },
);

test(
  "Baichuan 13B: falling scores, also where heads are no power of two",
  shows("baichuan", "forward", "generate"),
  async () => {
    const json = { ...llamaShape, num_attention_heads: 6, model_type: "baichuan", model_max_length: 16 };
    const files = await randomCheckpoint(parseConfig(json));
    const stored = await StoredNumbers.read(files);
    const expected = llamaLogits(stored, {
      projections: packed(stored),
      numHeads: 6,
      numKvHeads: () => 6,
      isRotary: false,
      bias: (head, i, j) => causal(i, j) + alibiSlope(head, 6) * (j - i),
      head: stored.rows("lm_head.weight"),
    });
    expect(relativeError(await computed(files), expected)).toBeLessThan(1e-6);
  },
);

test("Baichuan 2: rows of the output projection have length 1", async () => {
  const json = {
    ...llamaShape,
    vocab_size: 125_696,
    num_hidden_layers: 1,
    hidden_size: 8,
    intermediate_size: 4,
  };
  const config = parseConfig({
    ...json,
    num_attention_heads: 2,
    model_type: "baichuan",
    max_position_embeddings: 16,
  });
  const device = reference();
  const fresh = initWeights(config, device, { seed: 3, dtype: "f32" });
  const sink = memorySink();
  await saveModel(sink, { config, weights: fresh });
  const stored = await StoredNumbers.read(sink.files);
  const model = await loadModel(memorySource(sink.files), { device });
  const head = model.weights.unembedding as Tensor;
  const values = await head.data();
  for (const row of [0, 777, 125_695]) {
    const [raw = []] = stored.rows("lm_head.weight", row, row + 1);
    const length = Math.sqrt(dot(raw, raw));
    const expected = raw.map((x) => x / length);
    expect(relativeError(values.subarray(row * 8, (row + 1) * 8), expected)).toBeLessThan(1e-12);
  }
});

test(
  "DeciLM: each layer with key heads of its own",
  shows("deci", "load, save", "forward", "generate"),
  async () => {
    const numKvHeads = [4, 1, 2];
    const json = { ...llamaShape, model_type: "deci", num_key_value_heads_per_layer: numKvHeads };
    const files = await randomCheckpoint(parseConfig(json));
    const stored = await StoredNumbers.read(files);
    const expected = llamaLogits(stored, {
      projections: (layer) =>
        ["q_proj", "k_proj", "v_proj"].map((name) =>
          stored.rows(`model.layers.${layer}.self_attn.${name}.weight`),
        ),
      numKvHeads: (layer) => numKvHeads[layer] ?? 0,
      isRotary: true,
      bias: (_, i, j) => causal(i, j),
      head: stored.rows("lm_head.weight"),
    });
    expect(relativeError(await computed(files), expected)).toBeLessThan(1e-6);
    expect(() =>
      parseConfig({ ...json, num_key_value_heads_per_layer: [4, 3, 2] }),
    ).toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: parseConfig: num_key_value_heads_per_layer must give each of 3 layers a divisor of 4 heads; got 4, 3, 2. Check the config.json.]`,
    );
  },
);

test("ChatGLM's prefix mask: tokens of the context see all of it, later ones what came before", async () => {
  const device = reference();
  const files = await randomCheckpoint(parseConfig({ ...llamaShape, model_type: "llama" }));
  const stored = await StoredNumbers.read(files);
  const numContext = 5;
  const expected = llamaLogits(stored, {
    projections: (layer) =>
      ["q_proj", "k_proj", "v_proj"].map((name) =>
        stored.rows(`model.layers.${layer}.self_attn.${name}.weight`),
      ),
    numKvHeads: () => 4,
    isRotary: true,
    bias: (_, i, j) => (j < numContext ? 0 : causal(i, j)),
    head: stored.rows("lm_head.weight"),
  });
  const model = await loadModel(memorySource(files), { device });
  const mask = prefix(tensor(device, Int32Array.of(numContext)));
  const { ids: tokens } = batchInputs(model, [ids]);
  const logits = decoderLogits(model.config, model.weights, { ids: tokens, attend: fullAttend({ mask }) });
  expect(relativeError(await logits.data(), expected)).toBeLessThan(1e-6);
});

interface BloomLike {
  readonly numLayers: number;
  readonly numHeads: number;
  readonly headDim: number;
  readonly hasEmbeddingNorm: boolean;
  /** What distance takes from the scaled score of a head. */
  slope(head: number): number;
  activation(x: number): number;
}

/** Logits of every token of a decoder with BLOOM's blocks and names. */
function bloomLogits(stored: StoredNumbers, model: BloomLike): number[] {
  const { numHeads, headDim } = model;
  const norm = (x: Vector, name: string) =>
    layerNorm(x, { weight: stored.vector(`${name}.weight`), bias: stored.vector(`${name}.bias`), eps: 1e-5 });
  const embedding = stored.rows("transformer.word_embeddings.weight");
  let states: readonly Vector[] = ids.map((id) => {
    const row = embedding[id] ?? [];
    return model.hasEmbeddingNorm ? norm(row, "transformer.word_embeddings_layernorm") : row;
  });
  for (let layer = 0; layer < model.numLayers; layer++) {
    const at = `transformer.h.${layer}`;
    const apply = (x: Vector, name: string) =>
      product(stored.rows(`${at}.${name}.weight`), x, stored.vector(`${at}.${name}.bias`));
    // Query, key and value of a head follow each other.
    const fused = states.map((x) =>
      apply(norm(x, `${at}.input_layernorm`), "self_attention.query_key_value"),
    );
    const part = (x: Vector, which: number) =>
      Array.from({ length: numHeads }, (_, head) => {
        const from = (3 * head + which) * headDim;
        return x.slice(from, from + headDim);
      }).flat();
    const seen = attend({
      numHeads,
      numKvHeads: numHeads,
      queries: fused.map((x) => part(x, 0)),
      keys: fused.map((x) => part(x, 1)),
      values: fused.map((x) => part(x, 2)),
      bias: (head, i, j) => causal(i, j) + model.slope(head) * (j - i),
    });
    states = states.map((x, token) => {
      const attended = plus(x, apply(seen[token] ?? [], "self_attention.dense"));
      const fed = norm(attended, `${at}.post_attention_layernorm`);
      const up = apply(fed, "mlp.dense_h_to_4h").map(model.activation);
      return plus(attended, apply(up, "mlp.dense_4h_to_h"));
    });
  }
  return states.flatMap((x) => product(embedding, norm(x, "transformer.ln_f")));
}

test(
  "BloombergGPT's form: BLOOM with 5 heads, whose slopes are no powers of one number",
  shows("bloom", "forward", "generate"),
  async () => {
    const sizes = { vocab_size: 40, hidden_size: 20, n_layer: 2, n_head: 5, seq_length: 16 };
    const files = await randomCheckpoint(parseConfig({ model_type: "bloom", ...sizes }));
    const expected = bloomLogits(await StoredNumbers.read(files), {
      numLayers: 2,
      numHeads: 5,
      headDim: 4,
      hasEmbeddingNorm: true,
      slope: (head) => alibiSlope(head, 5),
      activation: geluTanh,
    });
    expect(relativeError(await computed(files), expected)).toBeLessThan(1e-6);
  },
);

test(
  "Falcon-RW as published: what distance takes is divided by the root of the head's width, too, and added once",
  shows("falcon", "forward", "generate"),
  async () => {
    // The keys and the release of the published config.json, made small.
    const published = {
      model_type: "falcon",
      architectures: ["FalconForCausalLM"],
      alibi: true,
      apply_residual_connection_post_layernorm: false,
      attention_dropout: 0,
      bias: true,
      hidden_dropout: 0,
      hidden_size: 24,
      layer_norm_epsilon: 1e-5,
      multi_query: false,
      new_decoder_architecture: false,
      num_attention_heads: 4,
      num_hidden_layers: 2,
      num_kv_heads: 4,
      parallel_attn: false,
      transformers_version: "4.27.4",
      use_cache: true,
      vocab_size: 40,
    };
    const files = await randomCheckpoint(parseConfig(published));
    const expected = bloomLogits(await StoredNumbers.read(files), {
      numLayers: 2,
      numHeads: 4,
      headDim: 6,
      hasEmbeddingNorm: false,
      slope: (head) => alibiSlope(head, 4) / Math.sqrt(6),
      activation: geluExact,
    });
    expect(relativeError(await computed(files), expected)).toBeLessThan(1e-6);
  },
);

/** x Phi(x), with the series of the error function. */
function geluExact(x: number): number {
  const t = x / Math.SQRT2;
  let [term, sum] = [t, t];
  for (let n = 1; n < 200; n++) {
    term *= (-t * t) / n;
    sum += term / (2 * n + 1);
  }
  return 0.5 * x * (1 + (2 / Math.sqrt(Math.PI)) * sum);
}
