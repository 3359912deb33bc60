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
  const read = async (index: number): Promise<{ index: number; result: IteratorResult<TokenEvent> }> => ({
    index,
    result: (await readers[index]?.next()) ?? { done: true, value: undefined },
  });
  const pending = new Map(readers.map((_, index) => [index, read(index)]));
  try {
    while (pending.size > 0) {
      const { index, result } = await Promise.race(pending.values());
      if (result.done === true) {
        pending.delete(index);
        continue;
      }
      pending.set(index, read(index));
      yield { index, event: result.value };
    }
  } finally {
    for (const promise of pending.values()) promise.catch(() => {}); // their failures were told by the first
    for (const reader of readers) void reader.return?.();
  }
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
