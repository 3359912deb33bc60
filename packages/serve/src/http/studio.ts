import { z } from "zod";
import type { Engine, EngineStats } from "../engine.js";
import { readBody } from "./fields.js";
import type { ServedModel } from "./served-model.js";
import { sseResponse } from "./sse.js";

const tokenizeBody = z.looseObject({ text: z.string().max(200_000) });

/** Answers `POST /heddle/tokenize`: a text's ids, tokens and offsets. */
export async function tokenize(model: ServedModel, request: Request): Promise<Response> {
  const { text } = await readBody(request, tokenizeBody);
  return Response.json(model.tokenizer.tokenize(text));
}

/** Answers `GET /heddle/model`: what the server offers. */
export function describeModel(engine: Engine, model: ServedModel): Response {
  return Response.json({
    id: model.id,
    vocabSize: engine.vocabSize,
    maxSeqLen: engine.maxSeqLen,
    hasChat: model.chat !== undefined,
    // A template without roles only joins the messages: such a model continues texts.
    prefersChat: model.chat !== undefined && /\brole\b/.test(model.chat.template),
    defaults: model.defaults ?? {},
    facts: model.facts ?? {},
  });
}

const defaultIntervalMs = 500;

/** Answers `GET /heddle/stats`: the engine's statistics as server-sent events, until the client goes away. */
export function streamStats(engine: Engine, request: Request): Response {
  const asked = Number(new URL(request.url).searchParams.get("intervalMs") ?? defaultIntervalMs);
  const intervalMs = Math.min(Math.max(Number.isFinite(asked) ? asked : defaultIntervalMs, 100), 60_000);
  const gone = new AbortController();
  const signal = AbortSignal.any([request.signal, gone.signal]);
  return sseResponse(watchStats(engine, { intervalMs, signal }), {
    onError: (error) => ({ error: String(error) }),
    onCancel: () => gone.abort(),
  });
}

/** Yields the engine's statistics now and then, until the signal; ends also when the engine has drained. */
export async function* watchStats(
  engine: Engine,
  { intervalMs, signal }: { readonly intervalMs: number; readonly signal: AbortSignal },
): AsyncGenerator<EngineStats> {
  while (!signal.aborted) {
    const stats = engine.stats();
    yield stats;
    if (stats.isDraining) return;
    await pause(intervalMs, signal);
  }
}

/** Waits, but not longer than until the signal. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener("abort", end, { once: true });
  });
}
