import { z } from "zod";
import type { Engine } from "../engine.js";
import type { TokenEvent } from "../request.js";
import { HttpError } from "./errors.js";
import {
  checkModel,
  commonFields,
  readBody,
  refuseUnsupported,
  unsupportedCommon,
  wishesOf,
} from "./fields.js";
import { closingOf, completionLogprobs } from "./logprobs.js";
import { type AnswerPlan, type AnswerShape, answer, planAnswer } from "./openai.js";
import type { ServedModel, ServedTokenizer } from "./served-model.js";

const tokenId = z.int().min(0);

/** The body of `POST /v1/completions`. */
const completionBody = z.looseObject({
  ...commonFields,
  prompt: z.union(
    [
      z.string(),
      z.array(z.string()).min(1),
      z.array(tokenId).min(1),
      z.array(z.array(tokenId).min(1)).min(1),
    ],
    { error: "Invalid input: expected text, token ids, or an array of either" },
  ),
  /** Number of alternatives for each token. */
  logprobs: z.int().min(0).max(20).nullish(),
  echo: z.boolean().nullish(),
  suffix: z.string().nullish(),
  best_of: z.int().nullish(),
});

type CompletionBody = z.infer<typeof completionBody>;

const defaultMaxTokens = 16; // OpenAI's, for this endpoint only
const maxPrompts = 128;

/** Answers `POST /v1/completions`. */
export async function complete(engine: Engine, model: ServedModel, request: Request): Promise<Response> {
  const body = await readBody(request, completionBody);
  checkModel(body, model.id);
  refuseUnsupported({
    ...unsupportedCommon(body),
    echo: body.echo === true,
    suffix: Boolean(body.suffix),
    best_of: (body.best_of ?? 1) > (body.n ?? 1),
  });
  return answer(engine, planCompletion(body, model), request.signal);
}

function planCompletion(body: CompletionBody, model: ServedModel): AnswerPlan {
  const options = {
    ...wishesOf(body, model.defaults),
    maxTokens: body.max_tokens ?? defaultMaxTokens,
    ...(body.logprobs ? { logprobs: body.logprobs } : {}),
  };
  const prompts = promptsOf(body.prompt).map((prompt) => ({ ...options, prompt }));
  return planAnswer(body, model.id, completionShape(body, model.tokenizer), prompts);
}

/** A prompt field is one prompt or a list, of text or of ids. */
function promptsOf(prompt: CompletionBody["prompt"]): (string | number[])[] {
  if (typeof prompt === "string") return [prompt];
  if (prompt.every((part) => typeof part === "number")) return [prompt];
  if (prompt.length > maxPrompts) {
    throw new HttpError(
      400,
      `prompt: at most ${maxPrompts} prompts fit in one request; got ${prompt.length}. Send them in parts.`,
      {
        param: "prompt",
      },
    );
  }
  return prompt.filter((part) => typeof part !== "number");
}

function completionShape(body: CompletionBody, tokenizer: ServedTokenizer): AnswerShape {
  const offsets = new Map<number, number>();
  const choice = (index: number, events: readonly TokenEvent[], text: string): object => {
    const offset = offsets.get(index) ?? 0;
    offsets.set(index, offset + text.length);
    const hasLogprobs = body.logprobs !== undefined && body.logprobs !== null;
    return {
      index,
      text,
      logprobs: hasLogprobs ? completionLogprobs(tokenizer, events, offset) : null,
      ...closingOf(body, tokenizer, events),
    };
  };
  return {
    object: "text_completion",
    chunkObject: "text_completion",
    idPrefix: "cmpl",
    delta: (index, event) => choice(index, [event], event.text),
    whole: (index, { events, text }) => choice(index, events, text),
  };
}
