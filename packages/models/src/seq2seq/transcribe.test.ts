import { cpu, tensor } from "@heddle/tensor";
import fc from "fast-check";
import { expect, test } from "vitest";
import { packedSource } from "../../test/packed-golden.js";
import { generate } from "../generation/generate.js";
import { loadModelOf } from "../loading/load-model.js";
import { logMel } from "./log-mel.js";
import { seq2seq } from "./seq2seq-architecture.js";
import { createSeq2SeqDecoder } from "./seq2seq-decoder.js";
import { audioWindows, transcribe } from "./transcribe.js";

test("windows are the whole in order, none too long, each cut in its last sixth", () => {
  const sizes = fc.tuple(fc.integer({ min: 0, max: 5000 }), fc.integer({ min: 12, max: 900 }));
  fc.assert(
    fc.property(sizes, fc.integer({ min: 0, max: 1000 }), ([length, numSamples], seed) => {
      const samples = Float32Array.from({ length }, (_, n) => Math.sin((n + seed) * (n % 7)));
      const windows = audioWindows(samples, numSamples);
      expect(windows[0]?.start ?? 0).toBe(0);
      expect(windows.at(-1)?.end ?? 0).toBe(length);
      for (const [at, { start, end }] of windows.entries()) {
        expect(end - start).toBeLessThanOrEqual(numSamples);
        if (at === windows.length - 1) continue;
        expect(windows[at + 1]?.start).toBe(end);
        expect(end - start).toBeGreaterThanOrEqual(Math.floor((numSamples * 5) / 6));
      }
    }),
  );
});

test("a window ends where it is quiet", () => {
  const second = 16_000;
  const samples = Float32Array.from({ length: 40 * second }, (_, n) => Math.sin(n));
  samples.fill(0, 27 * second, 27.4 * second);
  const [first, second_] = audioWindows(samples, 30 * second);
  expect((first?.end ?? 0) / second).toBeGreaterThan(27);
  expect((first?.end ?? 0) / second).toBeLessThan(27.4);
  expect(second_?.end).toBe(40 * second);
  expect(audioWindows(new Float32Array(0), 100)).toEqual([]);
});

test("audio of several windows is written down window by window", async () => {
  const device = cpu({ threads: 1 });
  const model = await loadModelOf(seq2seq, packedSource("whisper"), { device });
  const { config } = model;
  if (config.source.kind !== "frames") throw new Error("Whisper reads frames");
  const numSamples = config.encoder.maxSeqLen * 320;
  const samples = Float32Array.from(
    { length: Math.floor(2.4 * numSamples) },
    (_, n) => 0.5 * Math.sin(n * 0.05 * (1 + Math.floor(n / 3000))) * Math.cos(n / 900),
  );
  const before = device.memory().buffers;
  const found = [];
  const options = { maxTokens: 5, promptIds: [7, 9] };
  for await (const transcript of transcribe(model, samples, options)) found.push(transcript);
  expect(device.memory().buffers).toBe(before);
  const windows = audioWindows(samples, numSamples);
  expect(windows.length).toBeGreaterThan(2);
  expect(found.map(({ startSeconds, endSeconds }) => [startSeconds, endSeconds])).toEqual(
    windows.map(({ start, end }) => [start / 16_000, end / 16_000]),
  );
  for (const [at, { start, end }] of windows.entries()) {
    const { numBins } = config.source;
    const { data, shape } = logMel(samples.slice(start, end), { numBins, numSamples });
    using source = tensor(device, data, { shape });
    const decoder = createSeq2SeqDecoder(model, { source: { source }, maxSeqLen: 10 });
    const ids: number[] = [];
    const settings = { decoder, temperature: 0, maxTokens: 5 };
    for await (const { id } of generate(model, [config.startId, 7, 9], settings)) ids.push(id);
    decoder.dispose();
    expect(found[at]?.ids).toEqual(ids);
  }
  expect(new Set(found.map(({ ids }) => ids.join())).size).toBeGreaterThan(1);
  await expect(
    transcribe(model, samples, { language: "en" }).next(),
  ).rejects.toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: transcribe: language and task must be tokens of the model; got <|en|>, which the tokenizer of this whisper model does not know. Pass promptIds.]`,
  );
  const t5 = await loadModelOf(seq2seq, packedSource("t5"), { device });
  await expect(transcribe(t5, samples).next()).rejects.toThrow(
    "transcribe: the model must read frames of audio; got a t5 model, which reads tokens. Use a Whisper model.",
  );
  t5.dispose();
  model.dispose();
  expect(device.memory().buffers).toBe(0);
  device.dispose();
});
