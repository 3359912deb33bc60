import { readEvents } from "./event-stream.js";
import type { Send } from "./page-engine.js";

/** What `/heddle/model` tells. */
export interface ModelInfo {
  readonly id: string;
  readonly vocabSize: number;
  readonly maxSeqLen: number;
  readonly hasChat: boolean;
  /** Its chat template knows roles: the model was taught to answer rather than to continue. */
  readonly prefersChat: boolean;
  readonly defaults: { readonly temperature?: number; readonly topP?: number };
  readonly facts: Readonly<Record<string, string | number>>;
  /** Layers and heads whose attention the server shows. */
  readonly attention?: { readonly numLayers: number; readonly numHeads: number };
  /** Layers whose guesses the server shows. */
  readonly lens?: { readonly numLayers: number };
}

/** What the model would say after each layer, at the first tokens of a text. */
export interface Lens {
  readonly tokens: readonly string[];
  /** [numLayers + 1][tokens], the embedding first. */
  readonly layers: readonly (readonly LensCell[])[];
  /** Tokens of the whole text. */
  readonly numTokens: number;
}

/** What the model would say at one layer and token. */
export interface LensCell {
  /** In nats. */
  readonly entropy: number;
  /** Likeliest first. */
  readonly top: readonly { readonly id: number; readonly token: string; readonly probability: number }[];
}

/** Where the first tokens of a text look, as an SVG. */
export interface AttentionPicture {
  readonly svg: string;
  /** Tokens in the picture, of all those of the text. */
  readonly shown: number;
  readonly tokens: number;
}

/** A token and how likely the model found it. */
export interface RatedToken {
  readonly id: number;
  readonly token: string;
  readonly logprob: number;
}

/** A generated token and its likeliest alternatives. */
export interface GeneratedToken extends RatedToken {
  readonly top: readonly RatedToken[];
  /** It ended the answer and is no part of its text. */
  readonly isEnd?: boolean;
}

/** One step of a stream. */
export interface Piece {
  readonly text: string;
  readonly tokens: readonly GeneratedToken[];
  readonly finishReason: string | null;
}

/** A text as its tokens. */
export interface Tokenization {
  readonly ids: readonly number[];
  readonly tokens: readonly string[];
  readonly offsets: readonly (readonly [number, number])[];
}

/** The part of the engine's statistics that the page shows. */
export interface EngineStats {
  readonly queued: number;
  readonly running: number;
  readonly tokensPerSecond: number;
  readonly promptTokensPerSecond: number;
  readonly slots: { readonly used: number; readonly total: number };
  readonly cacheTokens: { readonly used: number; readonly total: number };
  readonly cacheBytes: number;
  readonly timeToFirstTokenMs: { readonly p50?: number };
  readonly perTokenMs: { readonly p50?: number };
  readonly totals: { readonly finished: number; readonly generatedTokens: number };
}

/** A turn of a conversation. */
export interface Message {
  readonly role: "system" | "user" | "assistant";
  readonly content: string;
}

/** An answer of the server that says no. */
export class RefusedError extends Error {
  override readonly name = "RefusedError";
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

type Fields = Readonly<Record<string, unknown>>;

/** The server behind the page. */
export interface Client {
  model(): Promise<ModelInfo>;
  tokenize(text: string, signal: AbortSignal): Promise<Tokenization>;
  attention(
    text: string,
    at: { readonly layer: number; readonly head: number },
    signal: AbortSignal,
  ): Promise<AttentionPicture>;
  lens(text: string, signal: AbortSignal): Promise<Lens>;
  complete(prompt: string, fields: Fields, signal: AbortSignal): AsyncGenerator<Piece>;
  chat(messages: readonly Message[], fields: Fields, signal: AbortSignal): AsyncGenerator<Piece>;
  watchStats(signal: AbortSignal): AsyncGenerator<EngineStats>;
}

/**
 * Creates a client of the server that sent this page; with a key, every request carries it.
 *
 * @param send  carries the requests; default `fetch`
 */
export function createClient(
  apiKey: string | undefined,
  send: Send = (path, init) => fetch(path, init),
): Client {
  const ask = async (path: string, { body, signal }: { body?: unknown; signal?: AbortSignal } = {}) => {
    const response = await send(path, {
      method: body === undefined ? "GET" : "POST",
      headers: {
        ...(apiKey !== undefined && { authorization: `Bearer ${apiKey}` }),
        ...(body !== undefined && { "content-type": "application/json" }),
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
      ...(signal !== undefined && { signal }),
    });
    if (!response.ok) throw new RefusedError(response.status, await messageOf(response));
    return response;
  };
  const alternatives = 6;
  const streaming = { stream: true, return_tokens: true };
  return {
    model: async () => (await ask("/heddle/model")).json(),
    tokenize: async (text, signal) => (await ask("/heddle/tokenize", { body: { text }, signal })).json(),
    attention: async (text, at, signal) =>
      (await ask("/heddle/attention", { body: { text, ...at }, signal })).json(),
    lens: async (text, signal) => (await ask("/heddle/lens", { body: { text }, signal })).json(),
    async *complete(prompt, fields, signal) {
      const body = { ...fields, ...streaming, prompt, logprobs: alternatives };
      yield* pieces(await ask("/v1/completions", { body, signal }));
    },
    async *chat(messages, fields, signal) {
      const body = { ...fields, ...streaming, messages, logprobs: true, top_logprobs: alternatives };
      yield* pieces(await ask("/v1/chat/completions", { body, signal }));
    },
    async *watchStats(signal) {
      const response = await ask("/heddle/stats?intervalMs=400", { signal });
      for await (const event of events(response)) yield event as EngineStats;
    },
  };
}

async function messageOf(response: Response): Promise<string> {
  const text = await response.text();
  try {
    return JSON.parse(text).error.message;
  } catch {
    return text === "" ? `The server answered ${response.status}.` : text;
  }
}

function events(response: Response): AsyncGenerator<unknown> {
  if (response.body === null) throw new RefusedError(response.status, "The server sent no body.");
  return readEvents(response.body);
}

interface Chunk {
  readonly error?: { readonly message: string };
  readonly choices?: readonly {
    readonly text?: string;
    readonly delta?: { readonly content?: string };
    readonly tokens?: readonly GeneratedToken[];
    readonly finish_reason: string | null;
  }[];
}

async function* pieces(response: Response): AsyncGenerator<Piece> {
  for await (const event of events(response)) {
    const { error, choices = [] } = event as Chunk;
    if (error !== undefined) throw new RefusedError(500, error.message);
    const [choice] = choices;
    if (choice === undefined) continue;
    const text = choice.text ?? choice.delta?.content ?? "";
    const { tokens = [], finish_reason: finishReason } = choice;
    const isEnd = finishReason === "stop" && text === "";
    yield { text, tokens: isEnd ? tokens.map((token) => ({ ...token, isEnd })) : tokens, finishReason };
  }
}
