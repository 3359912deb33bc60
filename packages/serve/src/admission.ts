import { createSampler, type Decoder } from "@heddle/models";
import { HeddleError } from "@heddle/tensor";
import { createChannel } from "./channel.js";
import type { GenerationOptions, Request, TokenEvent } from "./request.js";
import { createTextStream, type TokenDecoder } from "./stream.js";

/** What the engine needs of a tokenizer. */
export interface EngineTokenizer {
  /** Encodes a prompt, with the special tokens that the model expects before it. */
  encode(text: string): readonly number[];
  /** Creates a decoder for the ids that follow a prompt. */
  createDecoder(prompt: readonly number[]): TokenDecoder;
}

/** What a request must fit. */
export interface RequestLimits {
  readonly vocabSize: number;
  /** Most tokens of prompt and answer together. */
  readonly maxSeqLen: number;
}

/** What turns options into a request. */
export interface RequestContext {
  readonly id: string;
  readonly limits: RequestLimits;
  readonly tokenizer: EngineTokenizer;
  /** What tells whether it can choose tokens itself, and out of which. */
  readonly decoder: Partial<Pick<Decoder, "choose" | "truncates">>;
  /** Called when the reader of the request's events leaves early. */
  readonly onAbandon: () => void;
  readonly nowMs: number;
}

/**
 * Checks a caller's options and makes the queued request.
 *
 * @throws HeddleError "config" when the prompt is empty, too long or has an id outside the vocabulary, when
 *   `maxTokens` is not a positive integer, when a stop string is empty, or when the sampler refuses its options
 */
export function createRequest(options: GenerationOptions, context: RequestContext): Request {
  const { prompt, maxTokens, stop, ignoreEndOfText: _, signal: __, ...sampling } = options;
  const ids = typeof prompt === "string" ? context.tokenizer.encode(prompt) : prompt;
  const tokens = checkPrompt(ids, context.limits);
  const room = context.limits.maxSeqLen - tokens.length;
  const sampler = createSampler(sampling);
  return {
    id: context.id,
    options,
    tokens,
    numPromptTokens: tokens.length,
    maxTokens: Math.min(checkMaxTokens(maxTokens) ?? room, room),
    sampler,
    onDevice: context.decoder.choose === undefined ? undefined : sampler.onDevice(context.decoder),
    text: createTextStream(context.tokenizer.createDecoder(tokens), stop),
    channel: createChannel<TokenEvent>({ onReturn: context.onAbandon }),
    numStored: 0,
    phase: { state: "queued" },
    addedAt: context.nowMs,
    lastTokenAt: undefined,
  };
}

function checkPrompt(ids: readonly number[] | Int32Array, { vocabSize, maxSeqLen }: RequestLimits): number[] {
  if (ids.length === 0) {
    throw new HeddleError(
      "config",
      "engine.add: the prompt must have at least one token; got 0 tokens. Give it text.",
      {
        promptTokens: 0,
      },
    );
  }
  if (ids.length >= maxSeqLen) {
    throw new HeddleError(
      "config",
      `engine.add: the prompt must leave room for an answer; got ${ids.length} prompt tokens, ` +
        `maxSeqLen ${maxSeqLen}. Shorten the prompt to at most ${maxSeqLen - 1} tokens.`,
      { promptTokens: ids.length, maxSeqLen },
    );
  }
  for (const id of ids) {
    if (Number.isInteger(id) && id >= 0 && id < vocabSize) continue;
    throw new HeddleError(
      "config",
      `engine.add: token ids must be integers from 0 to ${vocabSize - 1}; got ${id}. ` +
        "Encode the prompt with this model's own tokenizer.",
      { id, vocabSize },
    );
  }
  return [...ids];
}

function checkMaxTokens(maxTokens: number | undefined): number | undefined {
  if (maxTokens === undefined || (Number.isInteger(maxTokens) && maxTokens >= 1)) return maxTokens;
  throw new HeddleError(
    "config",
    `engine.add: maxTokens must be a positive integer; got ${maxTokens}. Leave it out to fill the context.`,
    { maxTokens },
  );
}
