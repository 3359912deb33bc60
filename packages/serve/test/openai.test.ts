import OpenAI from "openai";
import { afterEach, describe, expect, it } from "vitest";
import { answerAlone } from "../reference/engine.js";
import type { Engine, EngineOptions } from "../src/engine.js";
import { type AppOptions, createApp } from "../src/http/app.js";
import { createPrometheusMetrics, drainOnSignals, type HttpServer, listen } from "../src/node/index.js";
import {
  byteTokenizer,
  createFakeDecoder,
  createFakeEngine,
  endId,
  type FakeDecoderOptions,
  fakeModel,
} from "./fake-model.js";

interface Running {
  readonly engine: Engine;
  readonly server: HttpServer;
  readonly client: OpenAI;
}

const running: Running[] = [];

/** Serves the fake model on a real socket. */
async function start(
  fake: FakeDecoderOptions = {},
  {
    engineOptions = {},
    appOptions = {},
  }: { engineOptions?: Partial<EngineOptions>; appOptions?: Partial<AppOptions> } = {},
): Promise<Running> {
  const { engine } = createFakeEngine(fake, engineOptions);
  const metrics = createPrometheusMetrics(engine, { loadSeconds: { weights: 0.25 } });
  const server = await listen(createApp({ engine, model: fakeModel, metrics, ...appOptions }), { port: 0 });
  const client = new OpenAI({
    baseURL: `${server.url}/v1`,
    apiKey: appOptions.apiKey ?? "none",
    maxRetries: 0,
  });
  const all = { engine, server, client };
  running.push(all);
  return all;
}

afterEach(async () => {
  await Promise.all(running.splice(0).map(({ server }) => server.close({ timeoutMs: 100 })));
});

/** Waits until the engine has nothing left, at most a second. */
async function expectIdleSoon(engine: Engine): Promise<void> {
  await expect
    .poll(() => engine.stats(), { timeout: 1000, interval: 5 })
    .toMatchObject({
      queued: 0,
      running: 0,
      slots: { used: 0 },
      cacheTokens: { used: 0 },
    });
}

async function aloneText(prompt: string, maxTokens: number): Promise<string> {
  const decoder = createFakeDecoder();
  const model = { decoder, tokenizer: byteTokenizer, endOfTextIds: [endId] };
  return (await answerAlone(model, { prompt, maxTokens, temperature: 0 })).text;
}

describe("the openai client", () => {
  it("lists models, completes and chats", async () => {
    const { client } = await start({ says: "The cat sat. " });
    const models = await client.models.list();
    expect(models.data.map((model) => model.id)).toEqual(["fake-bytes"]);
    expect((await client.models.retrieve("fake-bytes")).owned_by).toBe("heddle");
    const completion = await client.completions.create({ model: "fake-bytes", prompt: "T", max_tokens: 7 });
    expect(completion.choices[0]?.text).toBe("e cat s");
    const chat = await client.chat.completions.create({
      model: "fake-bytes",
      messages: [{ role: "user", content: "Hi" }],
      max_completion_tokens: 5,
      logprobs: true,
      top_logprobs: 3,
    });
    expect(chat.choices[0]?.message.content).toHaveLength(5);
    expect(chat.choices[0]?.logprobs?.content?.[0]?.top_logprobs).toHaveLength(3);
    expect(chat.usage?.completion_tokens).toBe(5);
  });

  it("streams with its own helper, which adds the chunks up", async () => {
    const { client } = await start({ says: "The cat sat. " });
    const stream = client.chat.completions.stream({
      model: "fake-bytes",
      messages: [{ role: "user", content: "Hi" }],
      max_tokens: 9,
      stream_options: { include_usage: true },
    });
    const parts: string[] = [];
    stream.on("content", (delta) => parts.push(delta));
    const final = await stream.finalChatCompletion();
    expect(final.choices[0]?.message.content).toBe(parts.join(""));
    expect(final.choices[0]?.finish_reason).toBe("length");
    expect(final.usage?.completion_tokens).toBe(9);
  });

  it("streams from 32 connections at once, each its own answer", async () => {
    const { client, engine } = await start({ numSlots: 8 });
    const answers = await Promise.all(
      Array.from({ length: 32 }, async (_, i) => {
        const stream = await client.completions.create({
          model: "fake-bytes",
          prompt: `story ${i}`,
          max_tokens: 24,
          stream: true,
        });
        let text = "";
        for await (const chunk of stream) text += chunk.choices[0]?.text ?? "";
        return text;
      }),
    );
    for (const [i, answer] of answers.entries()) expect(answer).toBe(await aloneText(`story ${i}`, 24));
    expect(new Set(answers).size).toBe(32);
    await expectIdleSoon(engine);
  });

  it("frees the cache at once when streams are cancelled, running or waiting", async () => {
    const { client, engine } = await start({ numSlots: 4, stepMs: 1, maxSeqLen: 100_000 });
    const ask = (prompt: string) =>
      client.completions.create({ model: "fake-bytes", prompt, max_tokens: 90_000, stream: true });
    const streams = await Promise.all(Array.from({ length: 12 }, (_, i) => ask(`s${i}`)));
    await expect.poll(() => engine.stats().running).toBe(4);
    expect(engine.stats().queued).toBe(8);
    for (const stream of streams.slice(0, 6)) stream.controller.abort();
    await expect.poll(() => engine.stats().queued, { timeout: 1000 }).toBe(2);
    for (const stream of streams) stream.controller.abort();
    await expectIdleSoon(engine);
    expect(engine.stats().totals).toMatchObject({ added: 12, cancelled: 12 });
  });

  it("cancels when a client leaves while it waits for a whole answer", async () => {
    const { client, engine } = await start({ stepMs: 1, maxSeqLen: 100_000 });
    const controller = new AbortController();
    const answer = client.completions.create(
      { model: "fake-bytes", prompt: "a", max_tokens: 90_000 },
      { signal: controller.signal },
    );
    await expect.poll(() => engine.stats().running).toBe(1);
    controller.abort();
    await expect(answer).rejects.toThrow(OpenAI.APIUserAbortError);
    await expectIdleSoon(engine);
  });

  it("throws its own error classes", async () => {
    const { client } = await start({}, { appOptions: { apiKey: "right" } });
    const create = (asked: OpenAI, prompt: string, model = "fake-bytes") =>
      asked.completions.create({ model, prompt, max_tokens: 2 });
    await expect(create(client.withOptions({ apiKey: "wrong" }), "a")).rejects.toThrow(
      OpenAI.AuthenticationError,
    );
    await expect(create(client, "a", "other")).rejects.toThrow(OpenAI.NotFoundError);
    await expect(create(client, "x".repeat(300))).rejects.toThrow(OpenAI.BadRequestError);
    expect((await create(client, "a")).choices[0]?.text).toHaveLength(2);
  });

  it("throws in the middle of a stream when the device fails, and retries a full queue by itself", async () => {
    const { client } = await start({
      numSlots: 1,
      onStep: (_, step) => {
        if (step === 3) throw new Error("device lost");
      },
    });
    const stream = await client.completions.create({ model: "fake-bytes", prompt: "a", stream: true });
    const read = async () => {
      for await (const _ of stream);
    };
    await expect(read()).rejects.toThrow(/device lost/);

    const busy = await start({ numSlots: 1, stepMs: 2 }, { engineOptions: { maxQueued: 1 } });
    const patient = busy.client.withOptions({ maxRetries: 3 });
    const first = patient.completions.create({ model: "fake-bytes", prompt: "a", max_tokens: 200 });
    await expect.poll(() => busy.engine.stats().running, { interval: 5 }).toBe(1);
    const second = patient.completions.create({ model: "fake-bytes", prompt: "b", max_tokens: 3 });
    await expect.poll(() => busy.engine.stats().queued, { interval: 5 }).toBe(1);
    const third = patient.completions.create({ model: "fake-bytes", prompt: "c", max_tokens: 3 });
    for (const answer of await Promise.all([first, second, third])) expect(answer.choices).toHaveLength(1);
    expect(busy.engine.stats().totals.refused).toBeGreaterThanOrEqual(1);
  });
});

describe("the server", () => {
  it("listens on this machine only, and says so when the port is taken", async () => {
    const { server } = await start();
    expect(server.url).toBe(`http://127.0.0.1:${server.port}`);
    const { engine } = createFakeEngine();
    await expect(listen(createApp({ engine, model: fakeModel }), { port: server.port })).rejects.toThrow(
      `listen: the address must be free; got 127.0.0.1:${server.port} (another program has it). Choose another port, or 0 for any.`,
    );
  });

  it("closes at once when clients only keep their connections open", async () => {
    const { engine } = createFakeEngine();
    const server = await listen(createApp({ engine, model: fakeModel }), { port: 0 });
    await (await fetch(`${server.url}/health`)).text();
    const startedAt = performance.now();
    await server.close();
    expect(performance.now() - startedAt).toBeLessThan(1000); // fetch would keep it open for several seconds
  });

  it("shows metrics that Prometheus reads", async () => {
    const { server, client } = await start({ numSlots: 2 });
    await client.completions.create({ model: "fake-bytes", prompt: "abc", max_tokens: 5 });
    const response = await fetch(`${server.url}/metrics`);
    expect(response.headers.get("content-type")).toContain("text/plain");
    const lines = (await response.text()).split("\n");
    const metric = (name: string) => Number(lines.find((line) => line.startsWith(`${name} `))?.split(" ")[1]);
    expect(metric('heddle_load_seconds{part="weights"}')).toBe(0.25);
    expect(metric('heddle_tokens_total{kind="prompt"}')).toBe(4);
    expect(metric('heddle_tokens_total{kind="generated"}')).toBe(5);
    expect(metric('heddle_requests_total{outcome="length"}')).toBe(1);
    expect(metric("heddle_time_to_first_token_seconds_count")).toBe(1);
    expect(metric("heddle_token_latency_seconds_count")).toBe(4);
    expect(metric("heddle_cache_slots")).toBe(2);
    expect(metric("heddle_cache_slots_used")).toBe(0);
    expect(metric("heddle_requests_queued")).toBe(0);
    expect(metric("heddle_resident_memory_bytes")).toBeGreaterThan(1e7);
  });

  it("drains on SIGTERM: finishes what it accepted, then closes", async () => {
    const { server, client, engine } = await start({ numSlots: 1, stepMs: 1 });
    const stream = await client.completions.create({
      model: "fake-bytes",
      prompt: "a",
      max_tokens: 60,
      stream: true,
    });
    const before = process.listenerCount("SIGTERM");
    const drained = drainOnSignals(server, engine, { signals: ["SIGTERM"], timeoutMs: 5000 });
    expect(process.listenerCount("SIGTERM")).toBe(before + 1);
    process.emit("SIGTERM");
    let numTokens = 0;
    for await (const _ of stream) numTokens++;
    expect(numTokens).toBe(60);
    await drained;
    expect(process.listenerCount("SIGTERM")).toBe(before);
    await expect(client.models.list()).rejects.toThrow(OpenAI.APIConnectionError);
  });
});
