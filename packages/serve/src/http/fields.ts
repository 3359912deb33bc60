import type { SamplingOptions } from "@heddle/models";
import { z } from "zod";
import type { GenerationOptions } from "../request.js";
import { HttpError, unknownModel } from "./errors.js";

const positive = z.int().min(1);

/** The fields that both kinds of completion share; fields that OpenAI's API lacks are marked. */
export const commonFields = {
  model: z.string().nullish(),
  temperature: z.number().min(0).max(2).nullish(),
  top_p: z.number().gt(0).max(1).nullish(),
  /** Extension: keep the k likeliest tokens; 0 and -1 keep all. */
  top_k: z.int().min(-1).nullish(),
  /** Extension: drop tokens below this share of the likeliest token's probability. */
  min_p: z.number().min(0).max(1).nullish(),
  /** Extension: divides the logits of tokens that occurred already; 1 is off. */
  repetition_penalty: z.number().gt(0).nullish(),
  seed: z.int().min(0).nullish(),
  stop: z
    .union([z.string().min(1), z.array(z.string().min(1)).max(16)], {
      error: "Invalid input: expected a non-empty string or an array of up to 16 of them",
    })
    .nullish(),
  n: z.int().min(1).max(16).nullish(),
  stream: z.boolean().nullish(),
  stream_options: z.looseObject({ include_usage: z.boolean().nullish() }).nullish(),
  max_tokens: positive.nullish(),
  /** Extension: go on past end-of-text tokens. */
  ignore_eos: z.boolean().nullish(),
  /** Extension: each choice also carries `tokens`, with ids and alternatives. */
  return_tokens: z.boolean().nullish(),
  presence_penalty: z.number().min(-2).max(2).nullish(),
  frequency_penalty: z.number().min(-2).max(2).nullish(),
  logit_bias: z.record(z.string(), z.number()).nullish(),
} as const;

/** The shared fields, checked. */
export type CommonBody = z.infer<z.ZodObject<typeof commonFields>>;

/** Reads a JSON body and checks it; the error names the field and what was expected of it. */
export async function readBody<S extends z.ZodType>(request: Request, schema: S): Promise<z.infer<S>> {
  const kind = request.headers.get("content-type") ?? "none";
  if (!/^application\/json\b/i.test(kind)) {
    throw new HttpError(
      415,
      `The body must be JSON; got content-type ${kind}. Send "content-type: application/json".`,
    );
  }
  const result = schema.safeParse(parseJson(await request.text()));
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const param = fieldPath(issue?.path ?? []);
  throw new HttpError(400, `${param === "" ? "The body" : param}: ${issue?.message ?? "is invalid"}.`, {
    param: param === "" ? null : param,
  });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new HttpError(
      400,
      `The body must be valid JSON; got ${text.length} characters that are not: ${why}.`,
    );
  }
}

/** Writes a path as people do: `messages[0].role`. */
function fieldPath(path: readonly PropertyKey[]): string {
  return path.reduce<string>((text, key) => {
    if (typeof key === "number") return `${text}[${key}]`;
    return text === "" ? String(key) : `${text}.${String(key)}`;
  }, "");
}

/** Refuses a model that this server does not offer; no model means the one it has. */
export function checkModel(body: CommonBody, offered: string): void {
  if (body.model && body.model !== offered) throw unknownModel(body.model, offered);
}

/** Refuses fields that OpenAI's API has and this server lacks, unless they ask for nothing. */
export function refuseUnsupported(asks: Readonly<Record<string, boolean>>): void {
  for (const [param, isAsked] of Object.entries(asks)) {
    if (!isAsked) continue;
    throw new HttpError(400, `${param}: this server does not support it. Leave it out.`, {
      param,
      code: "unsupported_parameter",
    });
  }
}

/** Which of the shared fields ask for something that this server lacks. */
export function unsupportedCommon(body: CommonBody): Record<string, boolean> {
  return {
    logit_bias: Object.keys(body.logit_bias ?? {}).length > 0,
  };
}

/** How a body asks for its text: sampling over the model's own defaults, and where to end. */
export function wishesOf(
  body: CommonBody,
  defaults: SamplingOptions = {},
): Omit<GenerationOptions, "prompt"> {
  const given = {
    temperature: body.temperature,
    topP: body.top_p,
    topK: body.top_k === -1 ? 0 : body.top_k,
    minP: body.min_p,
    repetitionPenalty: body.repetition_penalty,
    presencePenalty: body.presence_penalty,
    frequencyPenalty: body.frequency_penalty,
    seed: body.seed,
  };
  const present = Object.entries(given).filter(([, value]) => value !== undefined && value !== null);
  return {
    ...defaults,
    ...Object.fromEntries(present),
    stop: stopOf(body),
    ignoreEndOfText: body.ignore_eos === true,
  };
}

function stopOf(body: CommonBody): readonly string[] {
  if (typeof body.stop === "string") return [body.stop];
  return body.stop ?? [];
}
