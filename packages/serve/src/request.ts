import type { Sampler, SamplingOptions, TokenLogprob } from "@heddle/models";
import type { TokenChannel } from "./channel.js";
import type { TextStream } from "./stream.js";

/** What a caller asks of the engine. */
export interface GenerationOptions extends SamplingOptions {
  /** Text or token ids; text is encoded by the engine's tokenizer, with its special tokens. At least one token. */
  readonly prompt: string | readonly number[] | Int32Array;
  /** Most tokens to generate; default and upper bound: what the cache has room for after the prompt. */
  readonly maxTokens?: number;
  /** Generation ends before the first of these strings; it is not part of the text. */
  readonly stop?: readonly string[];
  /** Goes on past end-of-text tokens; default false. */
  readonly ignoreEndOfText?: boolean;
  /** Cancels the request wherever it is and frees its cache slot before the next step. */
  readonly signal?: AbortSignal;
}

/** Why a request ended by itself: a stop string or end-of-text token, or no room or allowance for more. */
export type FinishReason = "stop" | "length";

/** One generated token and the text that became certain with it. */
export interface TokenEvent extends TokenLogprob {
  /** Text to append; empty while a character or a possible stop string is incomplete. */
  readonly text: string;
  /** The likeliest alternatives, most likely first; present when `logprobs` was asked for. */
  readonly top?: readonly TokenLogprob[];
  /** Present on the last event only. */
  readonly finishReason?: FinishReason;
}

/** Where a request is. `slot` is the row of the key/value cache that it owns. */
export type Phase =
  | { readonly state: "queued" }
  | { readonly state: "prefilling"; readonly slot: number }
  | { readonly state: "decoding"; readonly slot: number }
  | { readonly state: "finished"; readonly outcome: FinishReason | "cancelled" | "failed" };

/** One request inside the engine: its tokens, its own sampler, and where it is. */
export interface Request {
  readonly id: string;
  readonly options: GenerationOptions;
  /** Prompt, then what was generated. */
  readonly tokens: number[];
  readonly numPromptTokens: number;
  /** Number of generated tokens at which the request ends with "length". */
  readonly maxTokens: number;
  readonly sampler: Sampler;
  /** How the decoder chooses the tokens itself; undefined where `sampler` does, on the host. */
  readonly onDevice: ReturnType<Sampler["onDevice"]>;
  readonly text: TextStream;
  readonly channel: TokenChannel<TokenEvent>;
  /** How many of `tokens` have their keys and values in the cache. */
  numStored: number;
  phase: Phase;
  /** Milliseconds of the engine's clock. */
  readonly addedAt: number;
  lastTokenAt: number | undefined;
}

/** The cache slot that a request owns, if it runs. */
export function slotOf(phase: Phase): number | undefined {
  switch (phase.state) {
    case "prefilling":
    case "decoding":
      return phase.slot;
    case "queued":
    case "finished":
      return undefined;
    default:
      return phase satisfies never;
  }
}

/** Counts the tokens generated so far. */
export function numGenerated(request: Request): number {
  return request.tokens.length - request.numPromptTokens;
}
