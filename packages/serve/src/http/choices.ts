import type { Engine, Generation } from "../engine.js";
import type { GenerationOptions, TokenEvent } from "../request.js";

/** The generations that answer one HTTP request, each the choice of its index. */
export interface Choices {
  readonly generations: readonly Generation[];
  /** Cancels all of them, as when the client goes away. */
  cancel(): void;
}

/**
 * Starts every choice of a request, or none: when the queue has no room for all, those already queued are cancelled.
 *
 * @param client aborted when the client goes away
 */
export function startChoices(
  engine: Engine,
  wanted: readonly GenerationOptions[],
  client: AbortSignal,
): Choices {
  const controller = new AbortController();
  const cancel = (): void => controller.abort(new DOMException("The client went away.", "AbortError"));
  const signal = AbortSignal.any([client, controller.signal]);
  try {
    return { generations: wanted.map((options) => engine.add({ ...options, signal })), cancel };
  } catch (error) {
    cancel();
    throw error;
  }
}

/** Repeats each prompt's options n times; a given seed counts up, so that the choices differ. */
export function repeatChoices(prompts: readonly GenerationOptions[], n: number): GenerationOptions[] {
  return prompts.flatMap((options) =>
    Array.from({ length: n }, (_, i) =>
      options.seed === undefined ? options : { ...options, seed: options.seed + i },
    ),
  );
}

/** One token of one choice. */
export interface ChoiceEvent {
  readonly index: number;
  readonly event: TokenEvent;
}

/** Reads all choices at once, yielding tokens as they come. The first failure ends the iteration. */
export async function* readChoices({ generations }: Choices): AsyncGenerator<ChoiceEvent> {
  const readers = generations.map((generation) => generation[Symbol.asyncIterator]());
  const pending = new Map<number, Promise<ChoiceRead>>();
  const read = (index: number, reader: AsyncIterator<TokenEvent>): void => {
    const next = reader.next().then((result) => ({ index, reader, result }));
    next.catch(() => {}); // a failure after the first, or after the client left, is nobody's news
    pending.set(index, next);
  };
  for (const [index, reader] of readers.entries()) read(index, reader);
  try {
    while (pending.size > 0) {
      const { index, reader, result } = await Promise.race(pending.values());
      pending.delete(index);
      if (result.done === true) continue;
      read(index, reader);
      yield { index, event: result.value };
    }
  } finally {
    for (const reader of readers) void reader.return?.();
  }
}

interface ChoiceRead {
  readonly index: number;
  readonly reader: AsyncIterator<TokenEvent>;
  readonly result: IteratorResult<TokenEvent>;
}

/** Token counts as OpenAI's API reports them. */
export interface Usage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
}

/** Counts a request's tokens; a prompt counts once however many choices it has. */
export function usageOf({ generations }: Choices, n: number, completionTokens: number): Usage {
  const prompts = generations.filter((_, i) => i % n === 0);
  const promptTokens = prompts.reduce((sum, generation) => sum + generation.numPromptTokens, 0);
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
  };
}
