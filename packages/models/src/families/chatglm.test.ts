import { memorySource } from "@heddle/checkpoints";
import { reference, tensor } from "@heddle/tensor";
import { describe, expect, test } from "vitest";
import {
  attend,
  geluTanh,
  layerNorm,
  plus,
  product,
  StoredNumbers,
  turn,
  type Vector,
} from "../../test/brute-force.js";
import { devices } from "../../test/devices.js";
import { madeConfigs, madeFiles } from "../../test/made-model.js";
import { relativeError } from "../../test/relative-error.js";
import { shows } from "../../test/shows.js";
import { createDecoder } from "../decoder/create-decoder.js";
import { beamSearch } from "../generation/beam-search.js";
import { generate } from "../generation/generate.js";
import { argmaxOf } from "../generation/sampling/scores.js";
import { inspectModel } from "../inspection/inspect-model.js";
import { type LoadedModel, loadModel } from "../loading/load-model.js";
import { configToJson, parseConfig } from "../loading/parse-config.js";

// ChatGLM-6B's published definition, written out in loops over a checkpoint's own tensors.

const json = madeConfigs.ChatGLM ?? {};
const [start, wholeMark, mark] = [8, 5, 6];
const [numLayers, numHeads, headDim] = [2, 4, 8];

interface Text {
  readonly ids: readonly number[];
  /** Place of the start token, and of the mark before it. */
  readonly context: number;
  readonly markAt: number;
}

const texts: readonly Text[] = [
  // The context ends in the mark of a whole answer, as a conversation's does.
  { ids: [3, 17, 30, 11, wholeMark, start, 2, 19, 21, 7], context: 5, markAt: 4 },
  // The mark of a span stands inside of the context.
  { ids: [3, mark, 17, 11, 9, 25, start, 2, 19, 21], context: 6, markAt: 1 },
  // The mark of a whole answer goes before that of a span; what follows the start counts for neither.
  { ids: [mark, 3, wholeMark, 17, start, 2, 19, wholeMark, 21, start], context: 4, markAt: 2 },
];

/** Logits of every token of a text. */
function bruteLogits(stored: StoredNumbers, { ids, context, markAt }: Text): number[] {
  const alpha = Math.sqrt(2 * numLayers);
  const affine = (name: string) => ({
    weight: stored.vector(`transformer.${name}.weight`),
    bias: stored.vector(`transformer.${name}.bias`),
    eps: 1e-5,
  });
  const embedding = stored.rows("transformer.word_embeddings.weight");
  let states: readonly Vector[] = ids.map((id) => embedding[id] ?? []);
  const halfTurns = (head: Vector, at: number): number[] => {
    const [inContext, inSpan] = at < context ? [at, 0] : [markAt, at - context + 1];
    return [...turn(head.slice(0, headDim / 2), inContext), ...turn(head.slice(headDim / 2), inSpan)];
  };
  for (let layer = 0; layer < numLayers; layer++) {
    const apply = (x: Vector, name: string) =>
      product(
        stored.rows(`transformer.layers.${layer}.${name}.weight`),
        x,
        stored.vector(`transformer.layers.${layer}.${name}.bias`),
      );
    const normed = states.map((x) => layerNorm(x, affine(`layers.${layer}.input_layernorm`)));
    const fused = normed.map((x) => apply(x, "attention.query_key_value"));
    const part = (x: Vector, which: number, change = (head: Vector): Vector => head) =>
      Array.from({ length: numHeads }, (_, head) => {
        const from = (3 * head + which) * headDim;
        return change(x.slice(from, from + headDim));
      }).flat();
    const seen = attend({
      numHeads,
      numKvHeads: numHeads,
      queries: fused.map((x, at) => part(x, 0, (head) => halfTurns(head, at))),
      keys: fused.map((x, at) => part(x, 1, (head) => halfTurns(head, at))),
      values: fused.map((x) => part(x, 2)),
      bias: (_, i, j) => (j < context || j <= i ? 0 : Number.NEGATIVE_INFINITY),
    });
    const times = (x: Vector) => x.map((value) => value * alpha);
    states = normed.map((x, at) => {
      const attended = plus(times(x), apply(seen[at] ?? [], "attention.dense"));
      const fed = layerNorm(attended, affine(`layers.${layer}.post_attention_layernorm`));
      const up = apply(fed, "mlp.dense_h_to_4h").map(geluTanh);
      return plus(times(fed), apply(up, "mlp.dense_4h_to_h"));
    });
  }
  return states.flatMap((x) => product(embedding, layerNorm(x, affine("final_layernorm"))));
}

const files = await madeFiles(json);
const stored = await StoredNumbers.read(files);

/** Logits of rows of ids, padded where the mask says so. */
async function logitsOf(model: LoadedModel, ids: number[][], attentionMask?: number[][]): Promise<number[]> {
  using logits = model.logits({ ids, ...(attentionMask && { attentionMask }) });
  return Array.from(await logits.data());
}

describe.each(devices)("chatglm on $name", ({ make, tolerance }) => {
  const shown = shows("chatglm", "load, save", "forward", "generate");

  test("logits are the published definition's, alone, in a batch and padded", shown, async () => {
    const device = make();
    const model = await loadModel(memorySource(files), { device });
    const wanted = texts.map((text) => bruteLogits(stored, text));
    for (const [at, { ids }] of texts.entries())
      expect(relativeError(await logitsOf(model, [[...ids]]), wanted[at] ?? [])).toBeLessThan(tolerance);
    const batch = await logitsOf(
      model,
      texts.map(({ ids }) => [...ids]),
    );
    expect(relativeError(batch, wanted.flat())).toBeLessThan(tolerance);
    const [{ ids } = { ids: [] }] = texts;
    const rows = [
      [0, 0, ...ids],
      [...ids, 0, 0],
    ];
    const masks = rows.map((row, b) => row.map((_, at) => ((b === 0 ? at < 2 : at >= ids.length) ? 0 : 1)));
    const padded = await logitsOf(model, rows, masks);
    const [size, width] = [ids.length * 40, 12 * 40];
    for (const from of [2 * 40, width])
      expect(relativeError(padded.slice(from, from + size), wanted[0] ?? [])).toBeLessThan(tolerance);
    model.dispose();
    expect(device.memory().buffers).toBe(0);
    device.dispose();
  });

  test("prompts and steps in a cache give the logits of the whole, slots of different spans side by side", async () => {
    const device = make();
    const model = await loadModel(memorySource(files), { device });
    const decoder = createDecoder(model, { numSlots: 3, maxSeqLen: 12 });
    const wanted = texts.map((text) => bruteLogits(stored, text));
    const rowOf = (text: number, at: number) => wanted[text]?.slice(at * 40, (at + 1) * 40) ?? [];
    const places = texts.map(({ context }) => context + 1);
    for (const [slot, { ids, context }] of texts.entries()) {
      const logits = (await decoder.feedPrefix?.(ids.slice(0, context + 1), slot)) ?? [];
      expect(relativeError(logits, rowOf(slot, context))).toBeLessThan(tolerance);
    }
    // Slot 1 goes to slot 0 and back: its span goes with it.
    decoder.reorderSlots?.(Int32Array.of(1, 0, 2));
    decoder.reorderSlots?.(Int32Array.of(1, 0, 2));
    for (let round = 0; round < 3; round++) {
      const slots = texts.flatMap(({ ids }, slot) => ((places[slot] ?? 0) < ids.length ? [slot] : []));
      const results = await decoder.step({
        tokens: Int32Array.from(slots, (slot) => texts[slot]?.ids[places[slot] ?? 0] ?? 0),
        positions: Int32Array.from(slots, (slot) => places[slot] ?? 0),
        slots: Int32Array.from(slots),
        outputs: Int32Array.from(slots.keys()),
      });
      for (const [at, slot] of slots.entries()) {
        expect(relativeError(results[at] ?? [], rowOf(slot, places[slot] ?? 0))).toBeLessThan(tolerance);
        places[slot] = (places[slot] ?? 0) + 1;
      }
    }
    decoder.dispose();
    model.dispose();
    expect(device.memory().buffers).toBe(0);
    device.dispose();
  });
});

describe("on a small model", () => {
  const device = reference();
  const loading = loadModel(memorySource(files), { device });

  test("generate and one beam make what whole texts computed anew say", async () => {
    const model = await loading;
    const prompt = [3, mark, 17, 11, start];
    const text = [...prompt];
    for (let i = 0; i < 6; i++) {
      const logits = bruteLogits(stored, { ids: text, context: 4, markAt: 1 });
      text.push(argmaxOf(logits.slice(-40)));
    }
    const ids: number[] = [];
    for await (const { id } of generate(model, prompt, { maxTokens: 6, temperature: 0, ignoreEos: true }))
      ids.push(id);
    expect(ids).toEqual(text.slice(prompt.length));
    const [beam] = await beamSearch(model, prompt, { numBeams: 1, maxTokens: 6, eosTokenIds: [] });
    expect(beam?.ids).toEqual(ids);
    expect(
      (await beamSearch(model, prompt, { numBeams: 3, maxTokens: 6, eosTokenIds: [] }))[0]?.ids,
    ).toHaveLength(6);
  });

  test("patterns show who sees whom", async () => {
    const [{ ids, context } = { ids: [], context: 0 }] = texts;
    const { pattern = [] } = inspectModel(await loading, { ids: [[...ids]] }, { keep: ["pattern"] });
    const T = ids.length;
    const weights = Array.from((await pattern[0]?.data()) ?? []).slice(0, T * T);
    for (const [at, weight] of weights.entries()) {
      const [i, j] = [Math.floor(at / T), at % T];
      expect(weight > 0).toBe(j < context || j <= i);
    }
    for (const one of pattern) one.dispose();
  });

  test("the configuration goes out and in again", () => {
    const config = parseConfig(json);
    expect(parseConfig(configToJson(config))).toEqual(config);
    expect(config.span).toEqual({ startId: start, markIds: [wholeMark, mark] });
  });

  test("what cannot be says what to do", async () => {
    const model = await loading;
    const decoder = createDecoder(model, { numSlots: 1, maxSeqLen: 8 });
    const step = (position: number) =>
      decoder.step({
        tokens: Int32Array.of(2),
        positions: Int32Array.of(position),
        slots: Int32Array.of(0),
        outputs: Int32Array.of(0),
      });
    const messageOf = (run: () => unknown) => {
      const failed = (error: Error) => error.message;
      try {
        return Promise.resolve(run()).then(String, failed);
      } catch (error) {
        return failed(error as Error);
      }
    };
    using bare = tensor(device, Int32Array.of(3, wholeMark, start), { shape: [1, 3] });
    const messages = [
      await messageOf(() => logitsOf(model, [[3, wholeMark, 2]])),
      await messageOf(() => logitsOf(model, [[3, start, wholeMark]])),
      await messageOf(() => step(3)),
      await messageOf(() => model.forward({ ids: bare })),
      await messageOf(() => parseConfig({ ...json, hidden_size: 24 })),
      await messageOf(() => parseConfig({ ...json, quantization_bit: 4, pre_seq_len: 128 })),
    ];
    expect(messages).toMatchInlineSnapshot(`
      [
        "span: a text must hold a mark (5 or 6) and after it the start token 8; got no 8. End the prompt with both: [.., 5, 8].",
        "span: a text must hold a mark (5 or 6) and after it the start token 8; got 8 at place 1 and no mark before it. End the prompt with both: [.., 5, 8].",
        "step: tokens up to the start of a span must be fed by feedPrefix; got position 3 in slot 0. Feed the whole prompt there first.",
        "decoder: a model that fills spans must be given both positions of each token; got none. Make inputs with batchInputs.",
        "parseConfig: heads must have a multiple of 4 features, whose halves turn in pairs; got 6. Check hidden_size and num_attention_heads.",
        "parseConfig: config.json must describe a chatglm model that Heddle computes; got quantization_bit = 4 (Invalid input: expected 0); pre_seq_len = 128 (Invalid input: expected null, received number). Mend these keys.",
      ]
    `);
    decoder.dispose();
  });
});
