import { HeddleError, tensor } from "@heddle/tensor";
import { type GenerateOptions, generate } from "../generation/generate.js";
import type { AnyModel } from "../loading/load-model.js";
import type { Seq2SeqConfig } from "./config.js";
import { logMel } from "./log-mel.js";
import { createSeq2SeqDecoder, type Seq2SeqDecoder } from "./seq2seq-decoder.js";
import type { Seq2SeqWeights } from "./weights.js";

/** A part of audio, in samples: from `start` up to, not including, `end`. */
export interface AudioWindow {
  readonly start: number;
  readonly end: number;
}

export interface TranscribeOptions
  extends Pick<GenerateOptions, "maxTokens" | "temperature" | "seed" | "processors" | "signal"> {
  /** Language that is spoken, as Whisper names it, such as "en". Default: left to the model. */
  readonly language?: string;
  /** Write down in the language that is spoken, or in English. Default: left to the model. */
  readonly task?: "transcribe" | "translate";
  /** Ids after the start token, in the place of those of `language` and `task`, for a model without a tokenizer. */
  readonly promptIds?: readonly number[];
}

/** What was said in a window. */
export interface Transcript {
  readonly text: string;
  readonly ids: readonly number[];
  readonly startSeconds: number;
  readonly endSeconds: number;
}

const sampleRate = 16_000;
const samplesPerPlace = 320; // 10 ms a frame, two frames a place of the encoder
/** A window ends at the quietest stretch of its last part. */
const searchShare = 1 / 6;
const quietSamples = sampleRate / 5;

/**
 * Writes down what is said in audio of any length, window by window: 30 s for Whisper, cut where it is quiet.
 *
 * Each window is heard by itself, without timestamps inside. Greedy unless a temperature is given.
 * @param samples  mono audio at 16 kHz, in [-1, 1]
 * @throws HeddleError "unsupported" for a model that reads no audio, "config" for a language or task that its tokenizer does not
 *   know; the signal's reason when aborted
 * @see Radford et al. 2022, Whisper, arXiv:2212.04356, sections 2.3 and 3.8
 */
export async function* transcribe(
  model: AnyModel<Seq2SeqConfig, Seq2SeqWeights>,
  samples: Float32Array,
  options: TranscribeOptions = {},
): AsyncGenerator<Transcript, void, undefined> {
  const { config, device } = model;
  const { source, encoder, decoder: target } = config;
  if (source.kind !== "frames") {
    const message = `transcribe: the model must read frames of audio; got a ${model.family} model, which reads ${source.kind}. Use a Whisper model.`;
    throw new HeddleError("unsupported", message, { family: model.family });
  }
  const { language, task, promptIds, maxTokens = target.maxSeqLen, ...sampling } = options;
  const prompt = [config.startId, ...(promptIds ?? markIds(model, { language, task }))];
  const numSamples = encoder.maxSeqLen * samplesPerPlace;
  let decoder: Seq2SeqDecoder | undefined;
  try {
    for (const { start, end } of audioWindows(samples, numSamples)) {
      const { data, shape } = logMel(samples.subarray(start, end), { numBins: source.numBins, numSamples });
      using frames = tensor(device, data, { shape, dtype: device.defaultFloat });
      if (decoder === undefined)
        decoder = createSeq2SeqDecoder(model, { source: { source: frames }, maxSeqLen: target.maxSeqLen });
      else decoder.listenTo({ source: frames });
      const ids: number[] = [];
      let text = "";
      const settings = { temperature: 0, ...sampling, decoder, maxTokens };
      for await (const token of generate(model, prompt, settings)) {
        ids.push(token.id);
        text += token.text;
      }
      yield { text, ids, startSeconds: start / sampleRate, endSeconds: end / sampleRate };
    }
  } finally {
    decoder?.dispose();
  }
}

/**
 * Cuts audio into windows of at most `numSamples`, each up to the quietest fifth of a second in its last sixth. Together they are the
 * whole; silence yields one window, nothing none.
 */
export function audioWindows(samples: Float32Array, numSamples: number): readonly AudioWindow[] {
  const windows: AudioWindow[] = [];
  let start = 0;
  while (samples.length - start > numSamples) {
    const end = quietestPlace(samples, start + Math.ceil(numSamples * (1 - searchShare)), start + numSamples);
    windows.push({ start, end });
    start = end;
  }
  if (samples.length > start) windows.push({ start, end: samples.length });
  return windows;
}

/** The middle of the stretch with the least energy between two places; of equals the last. */
function quietestPlace(samples: Float32Array, from: number, to: number): number {
  const width = Math.min(quietSamples, to - from);
  let energy = 0;
  let best = { energy: Number.POSITIVE_INFINITY, place: to };
  for (let at = from; at < to; at++) {
    energy += (samples[at] ?? 0) ** 2;
    if (at >= from + width) energy -= (samples[at - width] ?? 0) ** 2;
    const place = at + 1 - Math.floor(width / 2);
    if (at + 1 - from >= width && energy <= best.energy) best = { energy, place };
  }
  return best.place;
}

/** Ids of Whisper's marks for language, task and "no timestamps"; none where nothing is asked for. */
function markIds(
  { tokenizer, family }: AnyModel,
  { language, task }: { readonly language: string | undefined; readonly task: string | undefined },
): readonly number[] {
  const marks = [
    ...(language === undefined ? [] : [`<|${language}|>`]),
    ...(task === undefined ? [] : [`<|${task}|>`]),
  ];
  if (marks.length === 0) return [];
  return [...marks, "<|notimestamps|>"].map((mark) => {
    const id = tokenizer?.tokenToId(mark);
    if (id !== undefined) return id;
    const message = `transcribe: language and task must be tokens of the model; got ${mark}, which the tokenizer of this ${family} model does not know. Pass promptIds.`;
    throw new HeddleError("config", message, { mark });
  });
}
