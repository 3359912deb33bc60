import { renderChat } from "@heddle/models";
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
import { chatLogprobs, closingOf } from "./logprobs.js";
import { type AnswerPlan, type AnswerShape, answer, planAnswer } from "./openai.js";
import type { ServedModel, ServedTokenizer } from "./served-model.js";

const textPart = z.looseObject({ type: z.literal("text"), text: z.string() });

const message = z.looseObject({
  role: z.enum(["system", "developer", "user", "assistant", "tool"]),
  content: z
    .union([z.string(), z.array(textPart)], {
      error: "Invalid input: expected text or an array of text parts",
    })
    .nullish(),
});

/** The body of `POST /v1/chat/completions`. */
const chatBody = z.looseObject({
  ...commonFields,
  messages: z.array(message).min(1),
  max_completion_tokens: z.int().min(1).nullish(),
  logprobs: z.boolean().nullish(),
  top_logprobs: z.int().min(0).max(20).nullish(),
  response_format: z.looseObject({ type: z.string() }).nullish(),
  tools: z.array(z.unknown()).nullish(),
  functions: z.array(z.unknown()).nullish(),
  audio: z.unknown().optional(),
});

type ChatBody = z.infer<typeof chatBody>;

/** Answers `POST /v1/chat/completions`. */
export async function chat(engine: Engine, model: ServedModel, request: Request): Promise<Response> {
  const body = await readBody(request, chatBody);
  checkModel(body, model.id);
  refuseUnsupported({
    ...unsupportedCommon(body),
    response_format: (body.response_format?.type ?? "text") !== "text",
    tools: (body.tools ?? []).length > 0,
    functions: (body.functions ?? []).length > 0,
    audio: body.audio !== undefined && body.audio !== null,
  });
  if (body.top_logprobs && body.logprobs !== true) {
    throw new HttpError(400, "top_logprobs: needs logprobs; got logprobs false. Set logprobs to true.", {
      param: "top_logprobs",
    });
  }
  return answer(engine, planChat(body, model), request.signal);
}

function planChat(body: ChatBody, model: ServedModel): AnswerPlan {
  const maxTokens = body.max_completion_tokens ?? body.max_tokens;
  const options = {
    ...wishesOf(body, model.defaults),
    prompt: renderPrompt(body, model),
    ...(maxTokens ? { maxTokens } : {}),
    ...(body.top_logprobs ? { logprobs: body.top_logprobs } : {}),
  };
  return planAnswer(body, model.id, chatShape(body, model.tokenizer), [options]);
}

/** Turns the messages into ids by the model's own template. */
function renderPrompt(body: ChatBody, { chat: format, id, tokenizer }: ServedModel): readonly number[] {
  if (format === undefined) {
    throw new HttpError(
      400,
      `The model must have a chat template; got ${id}, which has none. Use /v1/completions.`,
      {
        code: "no_chat_template",
      },
    );
  }
  const messages = body.messages.map(({ role, content }) => ({
    role: role === "developer" ? "system" : role,
    content: typeof content === "string" ? content : (content ?? []).map((part) => part.text).join(""),
  }));
  const { template, ...tokens } = format;
  try {
    return tokenizer.encodeRendered(renderChat(template, messages, { ...tokens, addGenerationPrompt: true }));
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new HttpError(400, `messages: the model's chat template refused them: ${why}`, {
      param: "messages",
    });
  }
}

function chatShape(body: ChatBody, tokenizer: ServedTokenizer): AnswerShape {
  const rest = (events: readonly TokenEvent[]): object => ({
    logprobs: body.logprobs === true ? chatLogprobs(tokenizer, events) : null,
    ...closingOf(body, tokenizer, events),
  });
  return {
    object: "chat.completion",
    chunkObject: "chat.completion.chunk",
    idPrefix: "chatcmpl",
    opening: (index) => ({
      index,
      delta: { role: "assistant", content: "" },
      logprobs: null,
      finish_reason: null,
    }),
    delta: (index, event) => ({ index, delta: { content: event.text }, ...rest([event]) }),
    whole: (index, { text, events }) => ({
      index,
      message: { role: "assistant", content: text, refusal: null },
      ...rest(events),
    }),
  };
}
