import { HeddleError } from "@heddle/tensor";
import type { HostArray, StartedDecoder } from "../architecture.js";
import type { Decoder } from "../decoder/decoder-interface.js";
import { findFamily } from "../families/registry.js";
import type { AnyModel } from "../loading/load-model.js";
import { type AnswerOptions, answerRules, lengthSteps } from "./answer-options.js";
import { type Prompt, promptOf } from "./prompt.js";
import { boolean, checkOptions, having, type OptionRules } from "./sampling/option-rules.js";
import { createSampler, type SampledToken, type Sampler, type TokenLogprob } from "./sampling/sampler.js";
import { type SamplingOptions, samplingRules } from "./sampling/sampling-options.js";
import { createStopMatcher } from "./stop-matcher.js";

export interface GenerateOptions extends SamplingOptions, AnswerOptions {
  /** Texts that end the answer; they are not part of it. */
  readonly stop?: string | readonly string[];
  /** Go on after an end-of-text token. Default false. */
  readonly ignoreEos?: boolean;
  /** A decoder to use, whose plans are then kept for the next call; slot 0 is overwritten. Default: a new one. */
  readonly decoder?: Decoder;
}

const generateRules: OptionRules<Required<GenerateOptions>> = {
  ...answerRules,
  stop: {
    rule: "a text or a list of texts",
    holds: (x) => [x].flat().every((text) => typeof text === "string"),
  },
  ignoreEos: boolean,
  decoder: having("a decoder, such as createDecoder makes", "step"),
  ...samplingRules,
};

/** One generated token and the text that became certain with it: often a word, sometimes nothing. */
export interface GeneratedToken {
  readonly id: number;
  readonly text: string;
  readonly logprob: number;
  readonly top?: readonly TokenLogprob[];
  /** On the last token: "stop" for an end-of-text token or a stop string, "length" where `maxTokens` were made. */
  readonly finishReason?: "stop" | "length";
}

/**
 * Continues a prompt, token by token.
 *
 * Options that are not given come from the model's generation_config.json. With `temperature: 0` the result is
 * the same in every run and equal to what the server gives.
 * @param prompt  text, encoded with the tokenizer's special tokens, ids as they are, or what a model that listens hears
 * @throws HeddleError "capacity" for a prompt that does not fit, "config" for values out of range and unknown options; the signal's
 *   reason when aborted
 */
export async function* generate(
  model: AnyModel,
  prompt: Prompt,
  options: GenerateOptions = {},
): AsyncGenerator<GeneratedToken, void, undefined> {
  checkOptions("generate", options, generateRules);
  const { maxTokens, minTokens: _, forcedTokens: __, stop = [], signal, ...rest } = options;
  const { ignoreEos = false, decoder: given, ...sampling } = rest;
  const { ids: promptIds, ...heard } = promptOf(model, prompt);
  const limit = roomFor(model, promptIds.length, { maxTokens, decoder: given });
  const text = textOf(model, promptIds, typeof stop === "string" ? [stop] : stop);
  const eos = new Set(ignoreEos ? [] : model.generationConfig.eosTokenIds);
  if (limit === 0) return;
  const { decoder, ids } =
    given === undefined
      ? await startDecoder(model, promptIds, { maxTokens: limit, ...heard })
      : { decoder: given, ids: promptIds };
  try {
    const { eosTokenIds } = model.generationConfig;
    const steps = lengthSteps(options, { model, promptLength: ids.length, eosTokenIds });
    const sampler = createSampler({
      ...model.generationConfig.sampling,
      ...sampling,
      processors: [...(sampling.processors ?? []), ...steps],
    });
    signal?.throwIfAborted();
    let count = 0;
    for await (const token of tokensOf(decoder, ids, { sampler, limit })) {
      count++;
      signal?.throwIfAborted();
      const result = eos.has(token.id) ? { text: text.flush(), stopped: true } : text.push(token.id);
      const finishReason = result.stopped ? "stop" : count === limit ? "length" : undefined;
      yield finish(token, result.text + (finishReason === "length" ? text.flush() : ""), finishReason);
      if (finishReason !== undefined) return;
    }
  } finally {
    if (given === undefined) decoder.dispose();
  }
}

/** The tokens after a prompt: each sampled on the host from logits, or, where device and options allow, on the device. */
async function* tokensOf(
  decoder: Decoder,
  ids: Int32Array,
  { sampler, limit }: { readonly sampler: Sampler; readonly limit: number },
): AsyncGenerator<SampledToken, void, undefined> {
  const history = [...ids];
  let logits = await feedPrompt(decoder, ids);
  for (;;) {
    const token = sampler.sample(logits, history);
    yield token;
    history.push(token.id);
    const position = history.length - 1;
    const onDevice = sampler.onDevice(decoder);
    if (onDevice !== undefined && decoder.ahead !== undefined) {
      yield* decoder.ahead({ slot: 0, token: token.id, position, steps: limit - 1, ...onDevice });
      return;
    }
    logits = await feed(decoder, [token.id], position);
  }
}

/** A decoder of the model's architecture and what it is to be fed first. @throws HeddleError "unsupported" where it has none */
export async function startDecoder(
  { family, config, weights, device }: AnyModel,
  promptIds: Int32Array,
  options: { readonly maxTokens: number; readonly numSlots?: number; readonly frames?: HostArray },
): Promise<StartedDecoder> {
  const { architecture } = findFamily(family);
  if (architecture.start !== undefined)
    return architecture.start({ config, weights, device }, promptIds, options);
  const message = `generate: the model must be able to continue a text; got family "${family}" of architecture "${architecture.name}". Use its logits.`;
  throw new HeddleError("unsupported", message, { family, architecture: architecture.name });
}

function finish(
  token: SampledToken,
  text: string,
  finishReason: GeneratedToken["finishReason"],
): GeneratedToken {
  return finishReason === undefined ? { ...token, text } : { ...token, text, finishReason };
}

/** Feeds what comes before the first new token into slot 0, whole where the model reads prompts so; logits after the last. */
export async function feedPrompt(decoder: Decoder, ids: ArrayLike<number>): Promise<Float32Array> {
  return (await decoder.feedPrefix?.(ids, 0)) ?? feed(decoder, ids, 0);
}

/** Feeds tokens of slot 0 from a position on and gives the logits after the last. */
async function feed(decoder: Decoder, ids: ArrayLike<number>, start: number): Promise<Float32Array> {
  const [logits = new Float32Array(0)] = await decoder.step({
    tokens: Int32Array.from(ids),
    positions: Int32Array.from(ids, (_, at) => start + at),
    slots: new Int32Array(ids.length),
    outputs: Int32Array.of(ids.length - 1),
  });
  return logits;
}

/**
 * How many tokens may follow a prompt: at most `maxTokens`, by default 512.
 *
 * @param options.decoder  what the caller brought to feed the prompt to
 * @throws HeddleError "capacity" where none can
 */
export function roomFor(
  { config }: AnyModel,
  promptLength: number,
  { maxTokens, decoder }: { readonly maxTokens: number | undefined; readonly decoder?: Decoder | undefined },
): number {
  const { roomAfter } = findFamily(config.family).architecture;
  const room =
    decoder === undefined
      ? (roomAfter?.(config, promptLength) ?? config.maxSeqLen - promptLength)
      : Math.min(decoder.maxSeqLen, config.maxSeqLen) - promptLength;
  if (room < 1) {
    const message = `generate: a prompt must leave room for an answer; got ${promptLength} tokens, the longest sequence has ${promptLength + room}. Shorten the prompt.`;
    throw new HeddleError("capacity", message, { promptLength, maxSeqLen: promptLength + room });
  }
  return Math.min(maxTokens ?? 512, room);
}

/** Turns ids into text that continues the prompt, up to a stop string. */
function textOf(
  { tokenizer }: AnyModel,
  promptIds: Int32Array,
  stops: readonly string[],
): { push(id: number): { text: string; stopped: boolean }; flush(): string } {
  const matcher = createStopMatcher(stops);
  if (tokenizer === undefined) {
    if (stops.length === 0) return { push: () => ({ text: "", stopped: false }), flush: () => "" };
    const message = `generate: stop strings need a tokenizer; got ${stops.length} and a model without one. Leave \`stop\` out.`;
    throw new HeddleError("config", message, { stops });
  }
  const stream = tokenizer.streamDecoder({ skipSpecialTokens: true, after: promptIds });
  return {
    push(id) {
      const { emit, stopped } = matcher.push(stream.push(id));
      return { text: emit, stopped };
    },
    flush() {
      const { emit, stopped } = matcher.push(stream.flush());
      return stopped ? emit : emit + matcher.flush();
    },
  };
}
