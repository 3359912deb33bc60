import { type CollectedGeneration, collectEvents } from "../collect.js";
import type { Engine } from "../engine.js";
import type { GenerationOptions, TokenEvent } from "../request.js";
import { type Choices, readChoices, repeatChoices, startChoices, usageOf } from "./choices.js";
import { toHttpError } from "./errors.js";
import type { CommonBody } from "./fields.js";
import { sseResponse } from "./sse.js";

/** How one endpoint writes its answers; the rest is the same for all. */
export interface AnswerShape {
  readonly object: string;
  readonly chunkObject: string;
  /** Prefix of the answer's id. */
  readonly idPrefix: string;
  /** A choice's first chunk, before any token; absent when there is none. */
  readonly opening?: (index: number) => object;
  /** A choice in a chunk: one token. */
  readonly delta: (index: number, event: TokenEvent) => object;
  /** A choice in a whole answer. */
  readonly whole: (index: number, collected: CollectedGeneration) => object;
}

/** A checked request, ready to run. */
export interface AnswerPlan {
  readonly model: string;
  readonly shape: AnswerShape;
  /** One for each choice. */
  readonly wanted: readonly GenerationOptions[];
  /** Choices for each prompt. */
  readonly n: number;
  readonly isStreamed: boolean;
  readonly withUsage: boolean;
}

/** Plans the answer to a checked body: each prompt's options, once for each of its `n` choices. */
export function planAnswer(
  body: CommonBody,
  model: string,
  shape: AnswerShape,
  prompts: readonly GenerationOptions[],
): AnswerPlan {
  const n = body.n ?? 1;
  return {
    model,
    shape,
    wanted: repeatChoices(prompts, n),
    n,
    isStreamed: body.stream === true,
    withUsage: body.stream_options?.include_usage === true,
  };
}

/** Runs a plan and answers as OpenAI's API does: one JSON object, or server-sent chunks and `[DONE]`. */
export async function answer(engine: Engine, plan: AnswerPlan, client: AbortSignal): Promise<Response> {
  const choices = startChoices(engine, plan.wanted, client);
  if (plan.isStreamed) {
    return sseResponse(chunksOf(plan, choices), {
      done: "[DONE]",
      onError: (error) => toHttpError(error).body,
      onCancel: choices.cancel,
    });
  }
  try {
    return Response.json(await wholeAnswer(plan, choices));
  } catch (error) {
    choices.cancel(); // one choice failed: the others are of no use
    throw error;
  }
}

function headerOf({ shape, model }: AnswerPlan, object: string): object {
  return { id: `${shape.idPrefix}-${crypto.randomUUID()}`, object, created: nowSeconds(), model };
}

function nowSeconds(): number {
  return Math.floor(Date.now() / 1000);
}

async function wholeAnswer(plan: AnswerPlan, choices: Choices): Promise<object> {
  const events: TokenEvent[][] = choices.generations.map(() => []);
  for await (const { index, event } of readChoices(choices)) events[index]?.push(event);
  const numTokens = events.reduce((sum, list) => sum + list.length, 0);
  return {
    ...headerOf(plan, plan.shape.object),
    choices: events.map((list, index) => plan.shape.whole(index, collectEvents(list))),
    usage: usageOf(choices, plan.n, numTokens),
  };
}

async function* chunksOf(plan: AnswerPlan, choices: Choices): AsyncGenerator<object> {
  const { shape, withUsage } = plan;
  const header = { ...headerOf(plan, shape.chunkObject), ...(withUsage && { usage: null }) };
  const { opening } = shape;
  if (opening !== undefined) {
    for (const index of choices.generations.keys()) yield { ...header, choices: [opening(index)] };
  }
  let numTokens = 0;
  for await (const { index, event } of readChoices(choices)) {
    numTokens++;
    yield { ...header, choices: [shape.delta(index, event)] };
  }
  if (withUsage) yield { ...header, choices: [], usage: usageOf(choices, plan.n, numTokens) };
}
