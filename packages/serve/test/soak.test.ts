import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { afterAll, beforeAll, expect, it } from "vitest";
import { createApp } from "../src/http/app.js";
import { createPrometheusMetrics, type HttpServer, listen } from "../src/node/index.js";
import { createFakeEngine, fakeModel } from "./fake-model.js";
import { sendRequests } from "./load.js";

const { engine, decoder } = createFakeEngine({ numSlots: 16 });
let server: HttpServer;

beforeAll(async () => {
  const metrics = createPrometheusMetrics(engine);
  server = await listen(createApp({ engine, model: fakeModel, metrics }), { port: 0 });
});
afterAll(() => server.close({ timeoutMs: 100 }));

setFlagsFromString("--expose-gc");
const collectGarbage: () => void = runInNewContext("gc");

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
  await sendRequests(server.url, 600); // compiled code, connections and buffers of steady work
  decoder.steps.length = 0;
  const before = await measure();
  const outcomes = await sendRequests(server.url, 2000);
  decoder.steps.length = 0;
  expect(outcomes).toEqual({ whole: 500, streamed: 500, cancelled: 500, wrong: 500 });
  // The last cancelled requests stop at the engine's next step.
  await expect
    .poll(() => engine.stats(), { timeout: 10_000 })
    .toMatchObject({ queued: 0, running: 0, slots: { used: 0 }, cacheTokens: { used: 0 } });
  // Connections that fetch keeps open for a while close in their own time; a leak does not.
  await expect
    .poll(async () => (await measure()).heapBytes - before.heapBytes, { timeout: 20_000, interval: 500 })
    .toBeLessThan(1e6);
  expect((await measure()).resources).toBeLessThanOrEqual(before.resources + 4);
});
