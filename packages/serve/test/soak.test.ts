import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { afterAll, beforeAll, expect, it } from "vitest";
import { createApp } from "../src/http/app.js";
import { createPrometheusMetrics, type HttpServer, listen } from "../src/node/index.js";
import { createFakeEngine, fakeModel } from "./fake-model.js";

const { engine, decoder } = createFakeEngine({ numSlots: 16 });
let server: HttpServer;

beforeAll(async () => {
  const metrics = createPrometheusMetrics(engine);
  server = await listen(createApp({ engine, model: fakeModel, metrics }), { port: 0 });
});
afterAll(() => server.close({ timeoutMs: 100 }));

setFlagsFromString("--expose-gc");
const collectGarbage: () => void = runInNewContext("gc");

/** Sends short requests from 32 workers: whole, streamed, cancelled in the middle, and wrong ones in turn. */
async function sendRequests(count: number): Promise<Record<string, number>> {
  const outcomes: Record<string, number> = {};
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let i = next++; i < count; i = next++) {
      const outcome = await sendOne(i);
      outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
    }
  };
  await Promise.all(Array.from({ length: 32 }, worker));
  return outcomes;
}

async function sendOne(i: number): Promise<string> {
  const kind = ["whole", "streamed", "cancelled", "wrong"][i % 4] ?? "whole";
  const controller = new AbortController();
  const response = await fetch(`${server.url}/v1/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ prompt: kind === "wrong" ? 5 : `p${i}`, max_tokens: 4, stream: kind !== "whole" }),
    signal: controller.signal,
  });
  if (kind === "cancelled") {
    await response.body?.getReader().read();
    controller.abort();
    return kind;
  }
  const text = await response.text();
  if (kind === "streamed" && !text.endsWith("data: [DONE]\n\n")) return "cut off";
  return response.status === (kind === "wrong" ? 400 : 200) ? kind : `status ${response.status}`;
}

/** Heap in use after garbage collection, and what keeps the process alive. */
async function measure(): Promise<{ heapBytes: number; resources: number }> {
  await expect.poll(() => engine.stats().running + engine.stats().queued).toBe(0);
  await new Promise((resolve) => setTimeout(resolve, 50));
  for (let i = 0; i < 3; i++) collectGarbage();
  return { heapBytes: process.memoryUsage().heapUsed, resources: process.getActiveResourcesInfo().length };
}

it("ends 2,000 short requests with the memory, slots and handles it began with", {
  timeout: 120_000,
}, async () => {
  await sendRequests(600); // compiled code, connections and buffers of steady work
  decoder.steps.length = 0;
  const before = await measure();
  const outcomes = await sendRequests(2000);
  decoder.steps.length = 0;
  expect(outcomes).toEqual({ whole: 500, streamed: 500, cancelled: 500, wrong: 500 });
  expect(engine.stats()).toMatchObject({
    queued: 0,
    running: 0,
    slots: { used: 0 },
    cacheTokens: { used: 0 },
  });
  // Connections that fetch keeps open for a while close in their own time; a leak does not.
  await expect
    .poll(async () => (await measure()).heapBytes - before.heapBytes, { timeout: 20_000, interval: 500 })
    .toBeLessThan(1e6);
  expect((await measure()).resources).toBeLessThanOrEqual(before.resources + 4);
});
