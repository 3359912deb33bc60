import { compile, concat, disposeTree, type Tensor, tensor, zeros } from "@heddle/tensor";
import { describe, expect, test } from "vitest";
import type { GoldenArrays } from "../../../../tooling/golden/safetensors.js";
import { devices } from "../../test/devices.js";
import { holdModel } from "../../test/held-model.js";
import { packedExpected, packedSource, rowsOf } from "../../test/packed-golden.js";
import { relativeError } from "../../test/relative-error.js";
import { showsOf } from "../../test/shows.js";
import { generate } from "../generation/generate.js";
import { type LoadedModel, loadModelOf } from "../loading/load-model.js";
import type { Seq2SeqConfig } from "./config.js";
import { type Seq2SeqInputs, seq2seqHidden, seq2seqLogits } from "./seq2seq.js";
import { seq2seq, seq2seqInputs } from "./seq2seq-architecture.js";
import { createSeq2SeqDecoder } from "./seq2seq-decoder.js";
import type { Seq2SeqWeights } from "./weights.js";

type Model = LoadedModel<Seq2SeqConfig, Seq2SeqWeights, Seq2SeqInputs>;

/** A golden case on the device; token rows, or the frames of Whisper. */
function inputsOf(model: Model, golden: GoldenArrays, kind: string): Seq2SeqInputs & { dispose(): void } {
  const rows = (name: string) => rowsOf(golden, `${kind}.${name}`);
  if (!golden.has(`${kind}.input_features`)) {
    return seq2seqInputs(model, {
      ids: rows("input_ids"),
      attentionMask: rows("attention_mask"),
      decoderIds: rows("decoder_input_ids"),
      decoderAttentionMask: rows("decoder_attention_mask"),
    });
  }
  const frames = golden.get(`${kind}.input_features`);
  const given = golden.get(`${kind}.decoder_input_ids`);
  const { device } = model;
  const source = tensor(device, Float32Array.from(frames.data), {
    shape: frames.shape,
    dtype: device.defaultFloat,
  });
  const ids = tensor(device, Int32Array.from(given.data), { shape: given.shape });
  return { source, ids, dispose: () => disposeTree([source, ids]) };
}

describe.each(devices)("$name", ({ make, tolerance }) => {
  describe.each(["t5", "t5_gated", "bart", "whisper"])("%s", (name) => {
    const golden = packedExpected(name);
    const kinds = ["basic", "padded", "long"].filter((kind) => golden.has(`${kind}.logits`));
    const use = holdModel(make, async (device) => ({
      model: await loadModelOf(seq2seq, packedSource(name), { device }),
    }));

    test.each(kinds)("%s logits, compiled too", showsOf(name, "forward"), async (kind) => {
      const { model } = use();
      const { dispose, ...inputs } = inputsOf(model, golden, kind);
      const run = compile((weights: Seq2SeqWeights, given: Seq2SeqInputs) =>
        seq2seqLogits(model.config, weights, given),
      );
      const expected = golden.get(`${kind}.logits`);
      const mask = golden.has(`${kind}.decoder_attention_mask`)
        ? rowsOf(golden, `${kind}.decoder_attention_mask`).flat()
        : [];
      const counts = (at: number) => mask[Math.floor(at / model.config.vocabSize)] !== 0;
      for (const logits of [model.forward(inputs), run(model.weights, inputs)]) {
        expect(logits.shape).toEqual(expected.shape);
        expect(relativeError(await logits.data(), expected.data, counts)).toBeLessThan(tolerance);
        logits.dispose();
      }
      dispose();
      run.dispose();
    });

    test("hidden states of both stacks", async () => {
      const { model } = use();
      const inputs = inputsOf(model, golden, "basic");
      const hidden = seq2seqHidden(model.config, model.weights, { ...inputs, keepLayers: true });
      const last = golden.get("basic.encoder_last_hidden_state");
      expect(relativeError(await hidden.encoder.last.data(), last.data)).toBeLessThan(tolerance);
      for (const stack of ["encoder", "decoder"] as const) {
        const expected = golden.get(`basic.${stack}_hidden_states`);
        const states: Tensor[] = [...hidden[stack].layers, hidden[stack].last];
        expect(states.length).toBe(expected.shape[0]);
        const size = expected.data.length / states.length;
        for (const [at, state] of states.entries()) {
          const row = (await state.data()).subarray(0, size);
          const wanted = expected.data.subarray(at * size, (at + 1) * size);
          expect(relativeError(row, wanted), `${stack} ${at}`).toBeLessThan(tolerance);
        }
      }
      inputs.dispose();
      disposeTree(hidden);
    });

    test("greedy ids from a cache", showsOf(name, "generate"), async () => {
      const { model, device } = use();
      const expected = rowsOf(golden, "greedy.ids")[0];
      const options = { maxTokens: 16, temperature: 0, ignoreEos: true };
      const ids: number[] = [];
      if (golden.has("greedy.input_ids")) {
        for await (const { id } of generate(model, rowsOf(golden, "greedy.input_ids")[0] ?? [], options))
          ids.push(id);
      } else {
        const frames = golden.get("greedy.input_features");
        using source = tensor(device, Float32Array.from(frames.data), {
          shape: frames.shape,
          dtype: device.defaultFloat,
        });
        const decoder = createSeq2SeqDecoder(model, { source: { source }, maxSeqLen: 17 });
        const from = [model.config.startId];
        for await (const { id } of generate(model, from, { ...options, decoder })) ids.push(id);
        decoder.dispose();
      }
      expect(ids).toEqual(expected);
    });

    test("a text ends with the decoder that was brought for it", async () => {
      const { model } = use();
      const inputs = inputsOf(model, golden, "basic");
      const decoder = createSeq2SeqDecoder(model, { source: inputs, maxSeqLen: 5 });
      const options = { temperature: 0, ignoreEos: true, decoder };
      const reasons = [];
      for await (const { finishReason } of generate(model, [model.config.startId], options))
        reasons.push(finishReason);
      expect(reasons).toEqual([undefined, undefined, undefined, "length"]);
      decoder.dispose();
      inputs.dispose();
    });

    test("cached steps give the logits of the whole, texts of different lengths side by side", async () => {
      const { model } = use();
      const kind = golden.has("padded.logits") ? "padded" : "basic";
      const inputs = inputsOf(model, golden, kind);
      const lengths = golden.has(`${kind}.attention_mask`)
        ? rowsOf(golden, `${kind}.attention_mask`).map((row) => row.reduce((sum, kept) => sum + kept, 0))
        : undefined;
      // It has listened to something else before: silence, or the first token again and again.
      using silence = zeros(model.device, inputs.source.shape, { dtype: inputs.source.dtype });
      const decoder = createSeq2SeqDecoder(model, { source: { source: silence }, maxSeqLen: 12 });
      const numRows = inputs.source.shape[0] ?? 0;
      const slots = Int32Array.from({ length: numRows }, (_, row) => row);
      const starts = slots.map(() => model.config.startId);
      await decoder.step({ tokens: starts, positions: slots.map(() => 0), slots, outputs: slots });
      decoder.listenTo(inputs, lengths);
      const rows = rowsOf(golden, `${kind}.decoder_input_ids`);
      const expected = golden.get(`${kind}.logits`);
      const width = model.config.vocabSize;
      const numTokens = rows[0]?.length ?? 0;
      const mask = golden.has(`${kind}.decoder_attention_mask`)
        ? rowsOf(golden, `${kind}.decoder_attention_mask`)
        : [];
      for (let t = 0; t < numTokens; t++) {
        const logits = await decoder.step({
          tokens: Int32Array.from(rows, (row) => row[t] ?? 0),
          positions: Int32Array.from(rows, () => t),
          slots: Int32Array.from(rows.keys()),
          outputs: Int32Array.from(rows.keys()),
        });
        for (const [row, values] of logits.entries()) {
          if (mask[row]?.[t] === 0) continue;
          const start = (row * numTokens + t) * width;
          const wanted = expected.data.subarray(start, start + width);
          expect(relativeError(values, wanted)).toBeLessThan(3 * tolerance);
        }
      }
      using longer = concat([silence, silence], { axis: silence.shape.length - 1 });
      expect(() => decoder.listenTo({ source: longer })).toThrow(
        `listenTo: a source must have the extents of the one before; got [${longer.shape}], before [${silence.shape}]. Pad it to them, or create another decoder.`,
      );
      decoder.dispose();
      inputs.dispose();
    });
  });
});
