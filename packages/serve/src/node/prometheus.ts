import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { Engine, EngineStats } from "../engine.js";
import type { MetricsPage } from "../http/app.js";
import type { EngineEvent } from "../metrics.js";

/** What the metrics page tells besides the engine's own state. */
export interface PrometheusOptions {
  /** How long the parts of starting took, in seconds, such as `{ weights: 0.8, warmup: 0.1 }`. */
  readonly loadSeconds?: Readonly<Record<string, number>>;
}

const latencyBuckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

/** Creates the `/metrics` page of an engine in Prometheus' text format; the names begin with `heddle_`. */
export function createPrometheusMetrics(
  engine: Engine,
  { loadSeconds = {} }: PrometheusOptions = {},
): MetricsPage {
  const registry = new Registry();
  const registers = [registry];
  const load = new Gauge({
    name: "heddle_load_seconds",
    help: "Time that a part of starting took.",
    labelNames: ["part"],
    registers,
  });
  for (const [part, seconds] of Object.entries(loadSeconds)) load.set({ part }, seconds);
  addGauges(engine, registers);
  engine.subscribe(createRecorder(registers));
  return { contentType: registry.contentType, render: () => registry.metrics() };
}

/** Gauges read the engine when they are scraped. */
function addGauges(engine: Engine, registers: Registry[]): void {
  const gauge = (name: string, help: string, read: (stats: EngineStats) => number): void => {
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(read(engine.stats()));
      },
    });
  };
  gauge("heddle_requests_queued", "Requests that wait for a cache slot.", (stats) => stats.queued);
  gauge("heddle_requests_running", "Requests that own a cache slot.", (stats) => stats.running);
  gauge("heddle_tokens_per_second", "Generated tokens a second, of late.", (stats) => stats.tokensPerSecond);
  gauge(
    "heddle_prompt_tokens_per_second",
    "Prompt tokens a second, of late.",
    (stats) => stats.promptTokensPerSecond,
  );
  gauge("heddle_cache_slots", "Slots of the key/value cache.", (stats) => stats.slots.total);
  gauge("heddle_cache_slots_used", "Slots owned by running requests.", (stats) => stats.slots.used);
  gauge(
    "heddle_cache_tokens",
    "Tokens that the key/value cache has room for.",
    (stats) => stats.cacheTokens.total,
  );
  gauge(
    "heddle_cache_tokens_used",
    "Tokens of running requests in the cache.",
    (stats) => stats.cacheTokens.used,
  );
  gauge("heddle_cache_bytes", "Size of the key/value cache.", (stats) => stats.cacheBytes);
  gauge("heddle_resident_memory_bytes", "Memory of this process.", () => process.memoryUsage.rss());
}

/** Creates the counters and histograms and what feeds them. */
function createRecorder(registers: Registry[]): (event: EngineEvent) => void {
  const histogram = (name: string, help: string): Histogram =>
    new Histogram({ name, help, buckets: latencyBuckets, registers });
  const counter = <Label extends string>(name: string, help: string, labelNames: Label[]): Counter<Label> =>
    new Counter({ name, help, labelNames, registers });
  const firstToken = histogram("heddle_time_to_first_token_seconds", "From the request to its first token.");
  const perToken = histogram("heddle_token_latency_seconds", "Between two tokens of a request.");
  const request = histogram("heddle_request_seconds", "From the request to its end.");
  const step = histogram("heddle_step_seconds", "One step of the model.");
  const tokens = counter("heddle_tokens_total", "Tokens run through the model.", ["kind"]);
  const requests = counter("heddle_requests_total", "Requests by how they ended.", ["outcome"]);
  return (event) => {
    switch (event.kind) {
      case "added":
        return;
      case "refused":
        return requests.inc({ outcome: "refused" });
      case "step":
        step.observe(event.durationMs / 1000);
        return tokens.inc({ kind: "prompt" }, event.numPromptTokens);
      case "firstToken":
        tokens.inc({ kind: "generated" });
        return firstToken.observe(event.sinceAddedMs / 1000);
      case "token":
        tokens.inc({ kind: "generated" });
        return perToken.observe(event.sincePreviousMs / 1000);
      case "finished":
        request.observe(event.durationMs / 1000);
        return requests.inc({ outcome: event.outcome });
      default:
        return event satisfies never;
    }
  };
}
