import { cpu, tensor } from "@heddle/tensor";
import { describe, expect, test } from "vitest";
import { readGoldenArrays, readGoldenJson } from "../../../../tooling/golden/safetensors.js";
import { beamReference } from "../../test/beam-reference.js";
import { devices } from "../../test/devices.js";
import { packedExpected, packedSource, rowsOf } from "../../test/packed-golden.js";
import { beamSearch } from "../generation/beam-search.js";
import { noRepeatNgram, repetitionPenalty } from "../generation/sampling/penalties.js";
import type { LogitsProcessor } from "../generation/sampling/processors.js";
import { loadModelOf } from "../loading/load-model.js";
import { seq2seq } from "./seq2seq-architecture.js";
import { createSeq2SeqDecoder } from "./seq2seq-decoder.js";

describe("beam search", () => {
  const folder = new URL("../../test/golden/", import.meta.url);
  const arrays = readGoldenArrays(new URL("beams.safetensors", folder));
  const { cases } = readGoldenJson<{ cases: Readonly<Record<string, BeamCase>> }>(
    new URL("beams.json", folder),
  );
  const names = Object.keys(cases).filter((name) => /^(?:t5|bart)\./.test(name));

  test.each(names)("%s finds the texts of transformers", async (name) => {
    const { hyper, generated_lengths, float32_gives_same: isStable } = cases[name] as BeamCase;
    expect(isStable).toBe(true);
    const [family = ""] = name.split(".");
    const [device] = devices.map(({ make }) => make());
    if (device === undefined) throw new Error("there is a reference device");
    const model = await loadModelOf(seq2seq, packedSource(family), { device });
    const rows = rowsOf(arrays, `${name}.input_ids`);
    const expected = rowsOf(arrays, `${name}.sequences`);
    const scores = arrays.get(`${name}.sequences_scores`).data;
    for (const [at, row] of rows.entries()) {
      const results = await beamSearch(model, row, {
        numBeams: hyper.num_beams,
        numReturned: hyper.num_return_sequences,
        maxTokens: hyper.max_new_tokens,
        minTokens: hyper.min_new_tokens ?? 0,
        eosTokenIds: [hyper.eos_token_id],
        lengthPenalty: hyper.length_penalty ?? 1,
        earlyStopping: hyper.early_stopping ?? false,
        processors: processorsOf(hyper),
      });
      expect(results.length).toBe(hyper.num_return_sequences);
      for (const [rank, { ids, score }] of results.entries()) {
        const place = at * hyper.num_return_sequences + rank;
        const wanted = expected[place] ?? [];
        expect(ids.length).toBe(generated_lengths[place]);
        // What follows the ending id fills the row up.
        expect([model.config.startId, ...ids]).toEqual(wanted.slice(0, ids.length + 1));
        expect(Math.abs(score - (scores[place] ?? 0))).toBeLessThan(1e-4);
      }
    }
    model.dispose();
    expect(device.memory().buffers).toBe(0);
  });
});

describe.each(["t5_gated", "bart", "whisper"])("%s: beams in caches are those of whole texts", (name) => {
  const device = cpu({ threads: 1 });
  const golden = packedExpected(name);
  const variants = [
    { earlyStopping: true, lengthPenalty: 1, numBeams: 3 },
    { earlyStopping: false, lengthPenalty: 2, numBeams: 2 },
    { earlyStopping: "never", lengthPenalty: 1, numBeams: 4 },
    { earlyStopping: "never", lengthPenalty: -1, numBeams: 2 },
  ] as const;

  test.each(variants)("early stopping $earlyStopping, length penalty $lengthPenalty", async (variant) => {
    const model = await loadModelOf(seq2seq, packedSource(name), { device });
    const { startId, vocabSize } = model.config;
    const hasFrames = golden.has("greedy.input_features");
    const { shape, data } = golden.get(hasFrames ? "greedy.input_features" : "greedy.input_ids");
    const source = tensor(device, hasFrames ? Float32Array.from(data) : Int32Array.from(data), { shape });
    const logprobsOf = async (made: readonly number[]) => {
      const row = [startId, ...made];
      using ids = tensor(device, Int32Array.from(row), { shape: [1, row.length] });
      using logits = model.forward({ source, ids });
      const last = Array.from((await logits.data()).subarray(-vocabSize));
      const total = Math.log(last.reduce((sum, logit) => sum + Math.exp(logit), 0));
      return last.map((logit) => logit - total);
    };
    // A token that the best beams choose, so that sequences end at different lengths.
    const first = await logprobsOf([]);
    const second = await logprobsOf([first.indexOf(Math.max(...first))]);
    const rules = { ...variant, maxTokens: 6, eosTokenId: second.indexOf(Math.max(...second)) };
    const wanted = await beamReference(logprobsOf, rules);
    const { numBeams } = variant;
    const decoder = createSeq2SeqDecoder(model, { source: { source }, numSlots: 4, maxSeqLen: 8 });
    const found = await beamSearch(model, [startId], {
      ...variant,
      numReturned: numBeams,
      maxTokens: rules.maxTokens,
      eosTokenIds: [rules.eosTokenId],
      decoder,
    });
    expect(found.map(({ ids }) => ids)).toEqual(wanted.map(({ ids }) => ids));
    for (const [at, { score }] of found.entries())
      expect(score).toBeCloseTo(wanted[at]?.score ?? Number.NaN, 4);
    const tooMany = { numBeams: 5, decoder, eosTokenIds: [] };
    await expect(beamSearch(model, [startId], tooMany)).rejects.toThrow(
      "beamSearch: the decoder must have a slot for each of 5 beams; got 4. Make it with numSlots 5.",
    );
    decoder.dispose();
    source.dispose();
    model.dispose();
    expect(device.memory().buffers).toBe(0);
  });
});

interface BeamCase {
  readonly hyper: {
    readonly num_beams: number;
    readonly length_penalty?: number;
    readonly early_stopping?: boolean | "never";
    readonly no_repeat_ngram_size?: number;
    readonly repetition_penalty?: number;
    readonly min_new_tokens?: number;
    readonly eos_token_id: number;
    readonly pad_token_id: number;
    readonly max_new_tokens: number;
    readonly num_return_sequences: number;
  };
  readonly generated_lengths: readonly number[];
  readonly float32_gives_same: boolean;
}

function processorsOf({
  repetition_penalty: penalty,
  no_repeat_ngram_size: size,
}: BeamCase["hyper"]): LogitsProcessor[] {
  return [
    ...(penalty === undefined ? [] : [repetitionPenalty(penalty)]),
    ...(size === undefined ? [] : [noRepeatNgram(size)]),
  ];
}
