import { createSampler, type Decoder } from "@heddle/models";
import type { EngineTokenizer } from "../src/admission.js";
import type { FinishReason, GenerationOptions } from "../src/request.js";
import { createTextStream } from "../src/stream.js";

/** A finished answer of the reference engine. */
export interface ReferenceAnswer {
  readonly ids: readonly number[];
  readonly text: string;
  readonly finishReason: FinishReason;
}

/**
 * Answers one request alone: the prompt token by token, then one token after the other, in slot 0.
 * The readable twin of src/engine.ts; slow, no batching, no chunks, no queue.
 */
export async function answerAlone(
  {
    decoder,
    tokenizer,
    endOfTextIds,
  }: { decoder: Decoder; tokenizer: EngineTokenizer; endOfTextIds: readonly number[] },
  { prompt, maxTokens, stop, ignoreEndOfText, signal: _, ...sampling }: GenerationOptions,
): Promise<ReferenceAnswer> {
  const tokens = [...(typeof prompt === "string" ? tokenizer.encode(prompt) : prompt)];
  const numPromptTokens = tokens.length;
  const limit = Math.min(maxTokens ?? Number.POSITIVE_INFINITY, decoder.maxSeqLen - numPromptTokens);
  const sampler = createSampler(sampling);
  const stream = createTextStream(tokenizer.createDecoder(tokens), stop);
  let text = "";
  const answer = (finishReason: FinishReason): ReferenceAnswer => ({
    ids: tokens.slice(numPromptTokens),
    text,
    finishReason,
  });
  for (let position = 0; ; position++) {
    const isLast = position === tokens.length - 1;
    const [logits] = await decoder.step({
      tokens: Int32Array.of(tokens[position] ?? 0),
      positions: Int32Array.of(position),
      slots: Int32Array.of(0),
      outputs: isLast ? Int32Array.of(0) : new Int32Array(0),
    });
    if (!isLast || logits === undefined) continue;
    const { id } = sampler.sample(logits, tokens);
    tokens.push(id);
    if (endOfTextIds.includes(id) && ignoreEndOfText !== true) {
      text += stream.flush().text;
      return answer("stop");
    }
    const piece = stream.push(id);
    text += piece.text;
    if (piece.stopped) return answer("stop");
    if (tokens.length - numPromptTokens < limit) continue;
    const rest = stream.flush();
    text += rest.text;
    return answer(rest.stopped ? "stop" : "length");
  }
}
