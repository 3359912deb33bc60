import { reference } from "@heddle/tensor";
import { describe, expect, test } from "vitest";
import { readGoldenArrays, readGoldenJson } from "../../../../tooling/golden/safetensors.js";
import { contrastiveReference } from "../../test/contrastive-reference.js";
import { devices } from "../../test/devices.js";
import { goldenSource } from "../../test/golden-model.js";
import { holdModel } from "../../test/held-model.js";
import { rowsOf } from "../../test/packed-golden.js";
import type { Decoder } from "../decoder/decoder-interface.js";
import { loadModel } from "../loading/load-model.js";
import { type Beam, type BeamSearchOptions, beamSearch } from "./beam-search.js";
import { type ContrastiveSearchOptions, contrastiveSearch } from "./contrastive-search.js";
import { generate } from "./generate.js";
import { noRepeatNgram, repetitionPenalty } from "./sampling/penalties.js";
import { softmaxOf } from "./sampling/scores.js";

interface Hyper {
  readonly num_beams: number;
  readonly length_penalty?: number;
  readonly early_stopping?: boolean | "never";
  readonly eos_token_id: number;
  readonly pad_token_id: number;
  readonly max_new_tokens: number;
  readonly min_new_tokens?: number;
  readonly num_return_sequences: number;
  readonly no_repeat_ngram_size?: number;
  readonly repetition_penalty?: number;
}

interface Case {
  readonly hyper?: Hyper;
  readonly generated_lengths?: readonly number[];
  readonly float32_gives_same?: boolean;
}

const golden = new URL("../../test/golden/beams.safetensors", import.meta.url);
const arrays = readGoldenArrays(golden);
const { cases } = readGoldenJson<{ readonly cases: Readonly<Record<string, Case>> }>(
  new URL("../../test/golden/beams.json", import.meta.url),
);
const llamaCases = Object.entries(cases).filter(
  ([name, { hyper }]) => name.startsWith("llama.") && hyper !== undefined && "num_beams" in hyper,
);

function optionsOf(hyper: Hyper): BeamSearchOptions {
  return {
    numBeams: hyper.num_beams,
    numReturned: hyper.num_return_sequences,
    lengthPenalty: hyper.length_penalty ?? 1,
    earlyStopping: hyper.early_stopping ?? false,
    maxTokens: hyper.max_new_tokens,
    minTokens: hyper.min_new_tokens ?? 0,
    eosTokenIds: [hyper.eos_token_id],
    processors: [
      ...(hyper.repetition_penalty ? [repetitionPenalty(hyper.repetition_penalty)] : []),
      ...(hyper.no_repeat_ngram_size ? [noRepeatNgram(hyper.no_repeat_ngram_size)] : []),
    ],
  };
}

describe.each(devices)("$name", ({ make }) => {
  const use = holdModel(make, async (device) => ({
    model: await loadModel(goldenSource("llama"), { device }),
  }));

  test.each(llamaCases)(
    "%s: the sequences and scores of transformers",
    async (name, { hyper, generated_lengths }) => {
      if (hyper === undefined) throw new Error("a case of beam search");
      const prompts = rowsOf(arrays, `${name}.input_ids`);
      const found: Beam[] = [];
      for (const prompt of prompts) found.push(...(await beamSearch(use().model, prompt, optionsOf(hyper))));
      const width = prompts[0]?.length ?? 0;
      const expected = rowsOf(arrays, `${name}.sequences`).map((row, at) =>
        row.slice(width, width + (generated_lengths?.[at] ?? 0)),
      );
      expect(found.map(({ ids }) => ids)).toEqual(expected);
      const scores = Array.from(arrays.get(`${name}.sequences_scores`).data);
      for (const [at, { score }] of found.entries())
        expect(Math.abs(score - (scores[at] ?? Number.NaN))).toBeLessThan(1e-4);
    },
  );

  test("contrastive search: the tokens of the paper's loop", async () => {
    const [prompt = []] = rowsOf(arrays, "llama.contrastive_paper.input_ids");
    const [expected = []] = rowsOf(arrays, "llama.contrastive_paper.ids");
    const options = { topK: 4, penaltyAlpha: 0.6, maxTokens: 10 };
    const { ids } = await contrastiveSearch(use().model, prompt, options);
    expect(ids).toEqual(expected.length > 10 ? expected.slice(prompt.length) : expected);
  });
});

test("every golden case of this architecture is run, and each is the same in float32", () => {
  expect(llamaCases.map(([name]) => name.slice("llama.".length))).toEqual(
    expect.arrayContaining(["lp0.5", "lp1.0", "lp2.0", "early", "never", "ngram", "beams2", "minnew"]),
  );
  expect(llamaCases.every(([, { float32_gives_same }]) => float32_gives_same)).toBe(true);
});

describe("on a small model", () => {
  const device = reference();
  const loading = loadModel(goldenSource("llama"), { device });

  test("one beam is greedy, and no penalty contrast is, too", async () => {
    const model = await loading;
    const greedy: number[] = [];
    const options = { maxTokens: 8, temperature: 0, ignoreEos: true };
    for await (const { id } of generate(model, [5, 6, 7], options)) greedy.push(id);
    const [beam] = await beamSearch(model, [5, 6, 7], { numBeams: 1, maxTokens: 8, eosTokenIds: [] });
    expect(beam?.ids).toEqual(greedy);
    const quiet = { ...model, generationConfig: { eosTokenIds: [], sampling: {} } };
    const contrastive = await contrastiveSearch(quiet, [5, 6, 7], { penaltyAlpha: 0, maxTokens: 8 });
    expect(contrastive.ids).toEqual(greedy);
  });

  test("as many beams as there are sequences find the best of all", async () => {
    const model = await loading;
    const { vocabSize } = model.config;
    const logprobs = async (ids: number[]) => {
      const logits = model.logits({ ids: [ids] });
      const data = (await logits.data()).subarray(-vocabSize);
      logits.dispose();
      return softmaxOf(Float64Array.from(data)).map(Math.log);
    };
    const first = await logprobs([9, 3]);
    let best = { score: Number.NEGATIVE_INFINITY, ids: [0, 0] };
    for (let a = 0; a < vocabSize; a++) {
      const second = await logprobs([9, 3, a]);
      for (let b = 0; b < vocabSize; b++) {
        const score = ((first[a] ?? 0) + (second[b] ?? 0)) / 2;
        if (score > best.score) best = { score, ids: [a, b] };
      }
    }
    const [beam] = await beamSearch(model, [9, 3], { numBeams: vocabSize, maxTokens: 2, eosTokenIds: [] });
    expect(beam?.ids).toEqual(best.ids);
    expect(beam?.score).toBeCloseTo(best.score, 6);
  });

  test.each(["llama", "gpt2", "deepseek_v3"])(
    "contrastive search in a cache is that of whole texts: %s",
    async (name) => {
      const model = await loadModel(goldenSource(name), { device: reference() });
      const quiet = { ...model, generationConfig: { eosTokenIds: [], sampling: {} } };
      const options = { topK: 3, penaltyAlpha: 0.5, maxTokens: 7 };
      const wanted = await contrastiveReference(model, [5, 6, 7, 9], options);
      expect((await contrastiveSearch(quiet, [5, 6, 7, 9], options)).ids).toEqual(wanted);
      // One token is of a state alone: all candidates resemble it as much as they do.
      expect((await contrastiveSearch(quiet, [5], { ...options, maxTokens: 3 })).ids).toHaveLength(3);
      const before = model.device.memory().buffers;
      await contrastiveSearch(quiet, [5, 6], options);
      expect(model.device.memory().buffers).toBe(before);
      model.dispose();
    },
  );

  test("penalties are done in both searches, given or advised, and tokens come where they are forced", async () => {
    const model = await loading;
    const quiet = { ...model, generationConfig: { eosTokenIds: [], sampling: {} } };
    const prompt = [5, 6, 7];
    const options = { maxTokens: 6, topK: 3 };
    const { ids: plain } = await contrastiveSearch(quiet, prompt, options);
    const [first = 0, second = 0] = plain;
    const banned = { suppressTokens: [first] };
    const advised = { ...quiet, generationConfig: { eosTokenIds: [], sampling: { ...banned, topK: 9 } } };
    const answers = [
      await contrastiveSearch(quiet, prompt, { ...options, ...banned }),
      await contrastiveSearch(advised, prompt, options),
    ];
    expect(answers[0]?.ids).not.toContain(first);
    expect(answers[1]).toEqual(answers[0]);
    const [beam] = await beamSearch(quiet, prompt, { maxTokens: 6 });
    const without = { suppressTokens: [...new Set(beam?.ids)] };
    const [other] = await beamSearch(quiet, prompt, { maxTokens: 6, ...without });
    expect(other?.ids.filter((id) => without.suppressTokens.includes(id))).toEqual([]);
    const likely = { ...advised, generationConfig: { eosTokenIds: [], sampling: without } };
    expect((await beamSearch(likely, prompt, { maxTokens: 6 }))[0]).toEqual(other);
    const forcedTokens = [
      [1, 33],
      [5, 2],
    ] as const;
    const forced = await contrastiveSearch(quiet, prompt, { ...options, forcedTokens });
    expect([forced.ids[0], forced.ids[1], forced.ids[5]]).toEqual([first, 33, 2]);
    const [led] = await beamSearch(quiet, prompt, { maxTokens: 6, forcedTokens });
    expect([led?.ids[1], led?.ids[5]]).toEqual([33, 2]);
    // An end that is held back, and one that is let go.
    const ends = { ...options, eosTokenIds: [second] };
    expect((await contrastiveSearch(quiet, prompt, ends)).ids).toEqual([first, second]);
    const late = await contrastiveSearch(quiet, prompt, { ...ends, minTokens: 4 });
    expect(late.ids.slice(0, 4)).not.toContain(second);
  });

  test("where options leave no token, or logits are no numbers, both searches say so", async () => {
    const model = await loading;
    const nothing = { processors: [(scores: Float64Array) => void scores.fill(Number.NEGATIVE_INFINITY)] };
    const broken: Partial<Decoder> = {
      numSlots: 4,
      maxSeqLen: 8,
      step: async () => [new Float32Array(72).fill(Number.NaN)],
      reorderSlots: () => undefined,
    };
    const messageOf = (search: typeof beamSearch | typeof contrastiveSearch, options: object) =>
      search(model, [1], options).then(String, (error: Error) => error.message);
    expect([
      await messageOf(beamSearch, nothing),
      await messageOf(contrastiveSearch, nothing),
      await messageOf(beamSearch, { decoder: broken }),
    ]).toMatchInlineSnapshot(`
      [
        "beamSearch: options must leave a token to choose; got none with a score above -Infinity. Ban fewer tokens.",
        "contrastiveSearch: options must leave a token to choose; got none with a score above -Infinity. Ban fewer tokens.",
        "beamSearch: logits must be numbers; got NaN among 72. The weights are damaged or overflow their dtype: load them as f32.",
      ]
    `);
  });

  const beamOptions: BeamSearchOptions[] = [
    { numBeams: 0 },
    { numBeams: 2, numReturned: 3 },
    { numReturned: 1.5 },
    { lengthPenalty: Number.NaN },
    { lengthPenalty: Number.POSITIVE_INFINITY },
    { earlyStopping: "sometimes" as "never" },
    { minTokens: Number.NaN },
    { minTokens: -1 },
    { maxTokens: 1.5 },
    { eosTokenIds: [1.5] },
    { noRepeatNgramSize: -1 },
    { forcedTokens: [[0]] as unknown as [[number, number]] },
    { forcedTokens: [[0, 72]] },
    { decoder: {} as unknown as Decoder },
    { signal: {} as AbortSignal },
    { temperature: 0.5 } as BeamSearchOptions,
    { num_beams: 3 } as BeamSearchOptions,
  ];
  test.each(beamOptions.map((options) => [shown(options), options] as const))(
    "options of beam search that cannot be are errors: %s",
    async (_, options) => {
      await expect(beamSearch(await loading, [1], options)).rejects.toThrowErrorMatchingSnapshot();
    },
  );

  const contrastiveOptions: ContrastiveSearchOptions[] = [
    { topK: 0 },
    { topK: 2.5 },
    { penaltyAlpha: 2 },
    { penaltyAlpha: Number.NaN },
    { maxTokens: -1 },
    { minTokens: 0.5 },
    { repetitionPenalty: 0 },
    { topP: 0.9 } as ContrastiveSearchOptions,
  ];
  test.each(contrastiveOptions.map((options) => [shown(options), options] as const))(
    "options of contrastive search that cannot be are errors: %s",
    async (_, options) => {
      await expect(contrastiveSearch(await loading, [1], options)).rejects.toThrowErrorMatchingSnapshot();
    },
  );
});

function shown(options: object): string {
  return JSON.stringify(options, (_, value) => (typeof value === "number" ? String(value) : value));
}
