import { HeddleError } from "@heddle/tensor";
import type { Context } from "hono";
import type { ContentfulStatusCode } from "hono/utils/http-status";

/** The body of every error response, as OpenAI's API has it. */
export interface ErrorBody {
  readonly error: {
    readonly message: string;
    readonly type: string;
    /** The field that is wrong, such as `messages[0].role`. */
    readonly param: string | null;
    readonly code: string | null;
  };
}

/** An error with its HTTP status, thrown by handlers and turned into a response by the app. */
export class HttpError extends Error {
  override readonly name = "HttpError";
  readonly status: ContentfulStatusCode;
  readonly body: ErrorBody;
  readonly headers: Readonly<Record<string, string>>;

  constructor(status: ContentfulStatusCode, message: string, options: HttpErrorOptions = {}) {
    super(message);
    this.status = status;
    const { type = "invalid_request_error", param = null, code = null } = options;
    this.body = { error: { message, type, param, code } };
    this.headers = options.headers ?? {};
  }
}

/** What an error says besides its message. */
export interface HttpErrorOptions {
  readonly type?: string;
  readonly param?: string | null;
  readonly code?: string | null;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Finds the status and the body for whatever a handler threw. */
export function toHttpError(error: unknown, retryAfterSeconds = 1): HttpError {
  if (error instanceof HttpError) return error;
  if (HeddleError.is(error)) return fromHeddleError(error, retryAfterSeconds);
  const message = error instanceof Error ? error.message : String(error);
  return new HttpError(500, `The server failed: ${message}`, { type: "server_error" });
}

function fromHeddleError(error: HeddleError, retryAfterSeconds: number): HttpError {
  const { message, details } = error;
  switch (error.code) {
    case "config":
      return new HttpError(400, message, { code: "maxSeqLen" in details ? "context_length_exceeded" : null });
    case "unsupported":
    case "format":
    case "shape":
    case "dtype":
      return new HttpError(400, message);
    case "capacity":
      return new HttpError(details.isDraining === true ? 503 : 429, message, {
        type: details.isDraining === true ? "server_error" : "rate_limit_error",
        code: details.isDraining === true ? "server_draining" : "queue_full",
        headers: { "retry-after": String(retryAfterSeconds) },
      });
    case "disposed":
    case "device":
      return new HttpError(500, message, { type: "server_error" });
    default:
      return error.code satisfies never;
  }
}

/** Makes the response for an error. */
export function errorResponse(context: Context, error: HttpError): Response {
  return context.json(error.body, error.status, error.headers);
}

/** The error for a model that this server does not offer. */
export function unknownModel(asked: string, offered: string): HttpError {
  return new HttpError(404, `The model must be one that this server offers; got ${asked}. Use ${offered}.`, {
    param: "model",
    code: "model_not_found",
  });
}
