import type { FinishReason } from "./request.js";

/** Something that happened in an engine; durations in milliseconds. */
export type EngineEvent =
  | { readonly kind: "added"; readonly numPromptTokens: number }
  | { readonly kind: "refused" }
  | {
      readonly kind: "step";
      /** Prompt tokens run in this step. */
      readonly numPromptTokens: number;
      /** Rows whose logits were computed: at most one for each running request. */
      readonly numOutputs: number;
      readonly durationMs: number;
    }
  | { readonly kind: "firstToken"; readonly sinceAddedMs: number }
  | { readonly kind: "token"; readonly sincePreviousMs: number }
  | {
      readonly kind: "finished";
      readonly outcome: FinishReason | "cancelled" | "failed";
      readonly numGeneratedTokens: number;
      readonly durationMs: number;
    };

/** Counts since the engine was created. */
export interface EngineTotals {
  readonly added: number;
  readonly refused: number;
  readonly finished: number;
  readonly cancelled: number;
  readonly failed: number;
  readonly steps: number;
  /** Prompt tokens run through the model. */
  readonly promptTokens: number;
  readonly generatedTokens: number;
}

/** The middle and the slow end of the latest latencies, in milliseconds; undefined before the first. */
export interface LatencySummary {
  readonly p50: number | undefined;
  readonly p95: number | undefined;
}

/** The part of the engine's statistics that comes from its events. */
export interface MeterReading {
  readonly totals: EngineTotals;
  /** Generated tokens a second, over the last three seconds. */
  readonly tokensPerSecond: number;
  /** Prompt tokens a second, over the last three seconds. */
  readonly promptTokensPerSecond: number;
  readonly timeToFirstTokenMs: LatencySummary;
  readonly perTokenMs: LatencySummary;
  /** From the request to its last token. */
  readonly requestMs: LatencySummary;
}

/** Turns the events of an engine into counts, rates and latencies. */
export interface Meter {
  record(event: EngineEvent, nowMs: number): void;
  read(nowMs: number): MeterReading;
}

type Counts = { -readonly [K in keyof EngineTotals]: EngineTotals[K] };

const windowMs = 3000;
const bucketMs = 250;
const numLatencies = 512;

/** Creates a meter; its memory does not grow with the number of events. */
export function createMeter(): Meter {
  const totals: Counts = {
    added: 0,
    refused: 0,
    finished: 0,
    cancelled: 0,
    failed: 0,
    steps: 0,
    promptTokens: 0,
    generatedTokens: 0,
  };
  const generated = createRate();
  const prompts = createRate();
  const firstToken = createLatencyWindow();
  const perToken = createLatencyWindow();
  const wholeRequest = createLatencyWindow();
  return {
    record(event, nowMs) {
      count(totals, event);
      if (event.kind === "firstToken") firstToken.add(event.sinceAddedMs);
      if (event.kind === "token") perToken.add(event.sincePreviousMs);
      if (event.kind === "finished") wholeRequest.add(event.durationMs);
      if (event.kind !== "step") return;
      generated.add(event.numOutputs, nowMs);
      prompts.add(event.numPromptTokens, nowMs);
    },
    read: (nowMs) => ({
      totals: { ...totals },
      tokensPerSecond: generated.perSecond(nowMs),
      promptTokensPerSecond: prompts.perSecond(nowMs),
      timeToFirstTokenMs: firstToken.summary(),
      perTokenMs: perToken.summary(),
      requestMs: wholeRequest.summary(),
    }),
  };
}

/** Adds one event to the counts. */
function count(totals: Counts, event: EngineEvent): void {
  switch (event.kind) {
    case "added":
      totals.added++;
      return;
    case "refused":
      totals.refused++;
      return;
    case "step":
      totals.steps++;
      totals.promptTokens += event.numPromptTokens;
      return;
    case "firstToken":
    case "token":
      totals.generatedTokens++;
      return;
    case "finished":
      if (event.outcome === "cancelled") totals.cancelled++;
      else if (event.outcome === "failed") totals.failed++;
      else totals.finished++;
      return;
    default:
      event satisfies never;
  }
}

/** Counts in buckets of a quarter second and forgets those older than the window. */
function createRate(): { add(amount: number, nowMs: number): void; perSecond(nowMs: number): number } {
  const buckets: { startMs: number; amount: number }[] = [];
  const forget = (nowMs: number): void => {
    while (buckets[0] !== undefined && buckets[0].startMs < nowMs - windowMs) buckets.shift();
  };
  return {
    add(amount, nowMs) {
      forget(nowMs);
      const last = buckets.at(-1);
      if (last !== undefined && nowMs - last.startMs < bucketMs) last.amount += amount;
      else buckets.push({ startMs: nowMs, amount });
    },
    perSecond(nowMs) {
      forget(nowMs);
      const first = buckets[0];
      if (first === undefined) return 0;
      const spanMs = Math.max(1000, nowMs - first.startMs); // a lone burst is not extrapolated
      return (buckets.reduce((sum, bucket) => sum + bucket.amount, 0) * 1000) / spanMs;
    },
  };
}

/** Keeps the latest latencies and reads their quantiles. */
function createLatencyWindow(): { add(valueMs: number): void; summary(): LatencySummary } {
  const values: number[] = [];
  let next = 0;
  return {
    add(valueMs) {
      values[next] = valueMs;
      next = (next + 1) % numLatencies;
    },
    summary() {
      const sorted = [...values].sort((a, b) => a - b);
      const quantile = (q: number): number | undefined => sorted[Math.ceil(q * sorted.length) - 1];
      return { p50: quantile(0.5), p95: quantile(0.95) };
    },
  };
}
