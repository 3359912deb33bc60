import type { TokenEvent } from "../request.js";
import type { CommonBody } from "./fields.js";
import type { ServedTokenizer } from "./served-model.js";

/** The UTF-8 bytes of a token's text; null where the token holds part of a character. */
function bytesOf(text: string): number[] | null {
  return text.includes("\ufffd") ? null : [...new TextEncoder().encode(text)];
}

/** Log probabilities as `/v1/completions` reports them. */
export interface CompletionLogprobs {
  readonly tokens: string[];
  readonly token_logprobs: number[];
  readonly top_logprobs: Record<string, number>[] | null;
  /** Where each token's text begins, in UTF-16 units of the choice's text. */
  readonly text_offset: number[];
}

/** Shapes log probabilities for `/v1/completions`; `offset` is the length of the text told before. */
export function completionLogprobs(
  tokenizer: ServedTokenizer,
  events: readonly TokenEvent[],
  offset: number,
): CompletionLogprobs {
  const withTop = events.some((event) => event.top !== undefined && event.top.length > 0);
  return {
    tokens: events.map((event) => tokenizer.tokenText(event.id)),
    token_logprobs: events.map((event) => event.logprob),
    top_logprobs: withTop ? events.map((event) => topByText(tokenizer, event)) : null,
    text_offset: startsOf(events, offset),
  };
}

function startsOf(events: readonly TokenEvent[], offset: number): number[] {
  let start = offset;
  return events.map(({ text }) => {
    const own = start;
    start += text.length;
    return own;
  });
}

/** The alternatives keyed by their text; of two with one text the likelier stays. */
function topByText(tokenizer: ServedTokenizer, { top = [] }: TokenEvent): Record<string, number> {
  const leastFirst = [...top].reverse();
  return Object.fromEntries(leastFirst.map(({ id, logprob }) => [tokenizer.tokenText(id), logprob]));
}

/** Log probabilities as `/v1/chat/completions` reports them. */
export function chatLogprobs(tokenizer: ServedTokenizer, events: readonly TokenEvent[]): object {
  const entry = ({ id, logprob }: { id: number; logprob: number }): object => ({
    token: tokenizer.tokenText(id),
    logprob,
    bytes: bytesOf(tokenizer.tokenText(id)),
  });
  const content = events.map((event) => ({ ...entry(event), top_logprobs: (event.top ?? []).map(entry) }));
  return { content, refusal: null };
}

/** What closes a choice of either endpoint: why it ended, and its tokens where `return_tokens` asks for them. */
export function closingOf(
  body: CommonBody,
  tokenizer: ServedTokenizer,
  events: readonly TokenEvent[],
): object {
  return {
    finish_reason: events.at(-1)?.finishReason ?? null,
    ...(body.return_tokens && { tokens: events.map((event) => describeToken(tokenizer, event)) }),
  };
}

function describeToken(tokenizer: ServedTokenizer, event: TokenEvent): object {
  const describe = ({ id, logprob }: { id: number; logprob: number }) => ({
    id,
    token: tokenizer.tokenText(id),
    logprob,
  });
  return { ...describe(event), top: (event.top ?? []).map(describe) };
}
