import { z } from "zod";
import type { Engine, EngineStats } from "../engine.js";
import { HttpError } from "./errors.js";
import { readBody } from "./fields.js";
import type { ServedModel } from "./served-model.js";
import { sseResponse } from "./sse.js";

const tokenizeBody = z.looseObject({ text: z.string().max(200_000) });

/** Answers `POST /heddle/tokenize`: a text's ids, tokens and offsets. */
export async function tokenize(model: ServedModel, request: Request): Promise<Response> {
  const { text } = await readBody(request, tokenizeBody);
  return Response.json(model.tokenizer.tokenize(text));
}

const attentionBody = z.looseObject({
  text: z.string().max(20_000),
  layer: z.number().int().min(0),
  head: z.number().int().min(0),
});

/** Tokens of a picture at most: it has a cell for each pair. */
const maxPictureTokens = 96;

/** Answers `POST /heddle/attention`: where the first tokens of a text look, in one layer and head, as an SVG. */
export async function showAttention(model: ServedModel, request: Request): Promise<Response> {
  const { text, layer, head } = await readBody(request, attentionBody);
  const view = model.attention;
  if (view === undefined) {
    throw new HttpError(404, `The model must show its attention; got ${model.id}, which does not.`, {
      code: "no_attention",
    });
  }
  for (const [param, value, count] of [
    ["layer", layer, view.numLayers],
    ["head", head, view.numHeads],
  ] as const) {
    if (value < count) continue;
    throw new HttpError(400, `The ${param} must be below ${count}; got ${value}. Count from 0.`, { param });
  }
  const { shown, tokens, numTokens } = firstTokens(model, text, maxPictureTokens);
  const labels = tokens.map((token) => token.replaceAll(" ", "\u2423"));
  const svg = await view.picture(shown, { layer, head, labels });
  return Response.json({ svg, shown: shown.length, tokens: numTokens });
}

/** The ids and texts of a text's first tokens, at most `most` of `numTokens`. @throws HttpError 400 for a text of none */
function firstTokens({ tokenizer }: ServedModel, text: string, most: number) {
  const { ids } = tokenizer.tokenize(text);
  if (ids.length === 0)
    throw new HttpError(400, "The text must have a token; got none. Send some text.", { param: "text" });
  const shown = ids.slice(0, most);
  return { shown, tokens: shown.map((id) => tokenizer.tokenText(id)), numTokens: ids.length };
}

const lensBody = z.looseObject({ text: z.string().max(20_000) });

/** Tokens of a lens at most, and the likeliest ones that each cell names. */
const maxLensTokens = 64;
const lensTop = 5;

/**
 * Answers `POST /heddle/lens`: for each layer and each of the first tokens of a text what the model would say there, likeliest
 * first, and the entropy in nats.
 */
export async function showLens(model: ServedModel, request: Request): Promise<Response> {
  const { text } = await readBody(request, lensBody);
  const { lens, tokenizer } = model;
  if (lens === undefined) {
    throw new HttpError(404, `The model must show its layers; got ${model.id}, which does not.`, {
      code: "no_lens",
    });
  }
  const { shown, tokens, numTokens } = firstTokens(model, text, maxLensTokens);
  const rows = await lens.read(shown, { top: lensTop });
  const layers = rows.map((row) =>
    row.map(({ top, entropy }) => ({
      entropy,
      top: top.map(({ id, probability }) => ({ id, token: tokenizer.tokenText(id), probability })),
    })),
  );
  return Response.json({ tokens, layers, numTokens });
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
    ...(model.attention && {
      attention: { numLayers: model.attention.numLayers, numHeads: model.attention.numHeads },
    }),
    ...(model.lens && { lens: { numLayers: model.lens.numLayers } }),
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
