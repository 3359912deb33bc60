import { Hono } from "hono";
import { bodyLimit } from "hono/body-limit";
import { cors } from "hono/cors";
import { timingSafeEqual } from "hono/utils/buffer";
import type { Engine } from "../engine.js";
import { chat } from "./chat.js";
import { complete } from "./completions.js";
import { errorResponse, HttpError, toHttpError, unknownModel } from "./errors.js";
import { type Page, pageResponse } from "./page.js";
import type { ServedModel } from "./served-model.js";
import { describeModel, showAttention, showLens, streamStats, tokenize } from "./studio.js";

/** Renders metrics for `/metrics`. */
export interface MetricsPage {
  readonly contentType: string;
  render(): Promise<string>;
}

/** What an app serves and how. */
export interface AppOptions {
  readonly engine: Engine;
  readonly model: ServedModel;
  /** When given, every request but those for the page and `/health` must bring it as a bearer token. */
  readonly apiKey?: string;
  /** Largest request body in bytes; default 4 MiB. */
  readonly maxBodyBytes?: number;
  /** Origins of other pages that may call this server; default none. */
  readonly corsOrigins?: readonly string[];
  readonly metrics?: MetricsPage;
  readonly page?: Page;
}

/**
 * Creates the HTTP interface: OpenAI's completions and chat completions, `/health`, `/metrics`, the page and what
 * the page needs. It is a function from Request to Response (`app.fetch`) and runs wherever those exist.
 */
export function createApp(options: AppOptions): Hono {
  const { engine, model, apiKey, maxBodyBytes = 4 * 1024 * 1024, corsOrigins = [], metrics, page } = options;
  const app = new Hono();
  if (corsOrigins.length > 0) app.use(cors({ origin: [...corsOrigins] }));
  app.onError((error, context) => errorResponse(context, toHttpError(error, retryAfter(engine))));
  app.notFound((context) => errorResponse(context, unknownUrl(context.req.method, context.req.path)));

  app.get("/health", (context) => {
    const { isDraining } = engine.stats();
    return context.json({ status: isDraining ? "draining" : "ok" }, isDraining ? 503 : 200);
  });
  if (page !== undefined)
    app.get("/*", async (context, next) => pageResponse(page, context.req.path) ?? next());

  if (apiKey !== undefined)
    app.use(async (context, next) => checkKey(context.req.header("authorization"), apiKey, next));
  app.use(bodyLimit({ maxSize: maxBodyBytes, onError: () => refuseBody(maxBodyBytes) }));
  addModelRoutes(app, engine, model);
  if (metrics !== undefined) {
    app.get("/metrics", async (context) =>
      context.body(await metrics.render(), 200, { "content-type": metrics.contentType }),
    );
  }
  return app;
}

function addModelRoutes(app: Hono, engine: Engine, model: ServedModel): void {
  const entry = { id: model.id, object: "model", created: model.createdSeconds, owned_by: "heddle" };
  app.get("/v1/models", (context) => context.json({ object: "list", data: [entry] }));
  app.get("/v1/models/:id{.+}", (context) => {
    if (context.req.param("id") !== model.id) throw unknownModel(context.req.param("id"), model.id);
    return context.json(entry);
  });
  app.post("/v1/completions", (context) => complete(engine, model, context.req.raw));
  app.post("/v1/chat/completions", (context) => chat(engine, model, context.req.raw));
  app.post("/heddle/tokenize", (context) => tokenize(model, context.req.raw));
  app.post("/heddle/attention", (context) => showAttention(model, context.req.raw));
  app.post("/heddle/lens", (context) => showLens(model, context.req.raw));
  app.get("/heddle/stats", (context) => streamStats(engine, context.req.raw));
  app.get("/heddle/model", () => describeModel(engine, model));
}

/** Estimates when a refused client should come back: the time that the queue takes to empty, 1 to 60 seconds. */
function retryAfter(engine: Engine): number {
  const { queued, running, slots, requestMs } = engine.stats();
  const rounds = (queued + running) / slots.total;
  return Math.min(60, Math.max(1, Math.ceil((rounds * (requestMs.p50 ?? 1000)) / 1000)));
}

async function checkKey(
  header: string | undefined,
  apiKey: string,
  next: () => Promise<void>,
): Promise<void> {
  const given = /^Bearer +(.+)$/i.exec(header ?? "")?.[1];
  if (given !== undefined && (await timingSafeEqual(given, apiKey))) return next();
  const got = given === undefined ? "none" : "a different one";
  throw new HttpError(
    401,
    `The request must carry this server's API key; got ${got}. Send "Authorization: Bearer KEY".`,
    {
      code: "invalid_api_key",
      headers: { "www-authenticate": "Bearer" },
    },
  );
}

function refuseBody(maxBodyBytes: number): never {
  throw new HttpError(413, `The body must have at most ${maxBodyBytes} bytes; got more. Send less text.`, {
    code: "request_too_large",
  });
}

function unknownUrl(method: string, path: string): HttpError {
  return new HttpError(404, `The server must know the URL; got ${method} ${path}. See GET /v1/models.`, {
    code: "unknown_url",
  });
}
