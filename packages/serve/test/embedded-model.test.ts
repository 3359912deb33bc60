import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { generate, type LoadedModel } from "@heddle/models";
import { openModel } from "@heddle/models/node";
import { type CpuDevice, cpu } from "@heddle/tensor";
import OpenAI from "openai";
import { afterAll, beforeAll, expect, it } from "vitest";
import { createApp, type PreparedModel, prepareModel } from "../src/http/index.js";
import { type HttpServer, listen } from "../src/node/index.js";
import { sendRequests } from "./load.js";

let device: CpuDevice;
let loaded: LoadedModel;
let prepared: PreparedModel;
let server: HttpServer;
let client: OpenAI;

beforeAll(async () => {
  const manifest = createRequire(import.meta.url).resolve("@heddle/tiny-stories/package.json");
  device = cpu();
  loaded = await openModel(join(dirname(manifest), "model"), { device });
  prepared = prepareModel(loaded, { id: "tiny-stories", numSlots: 8, maxSeqLen: 128 });
  await prepared.warmUp();
  server = await listen(createApp(prepared), { port: 0 });
  client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "none" });
});
afterAll(async () => {
  await server.close({ timeoutMs: 100 });
  await prepared.dispose();
  loaded.dispose();
  device.dispose();
});

it("streams one story to 32 clients of the openai package at once, as generate() tells it", {
  timeout: 120_000,
}, async () => {
  let alone = "";
  for await (const { text } of generate(loaded, "Once upon a time", { maxTokens: 24, temperature: 0 }))
    alone += text;
  const body = {
    model: "tiny-stories",
    prompt: "Once upon a time",
    max_tokens: 24,
    temperature: 0,
    stream: true,
  } as const;
  const told = await Promise.all(
    Array.from({ length: 32 }, async () => {
      let text = "";
      for await (const chunk of await client.completions.create(body)) text += chunk.choices[0]?.text ?? "";
      return text;
    }),
  );
  expect(new Set(told)).toEqual(new Set([alone]));
  expect(alone).toMatch(/^, there was a /);
});

it("chats: the story goes on after what the user wrote", { timeout: 60_000 }, async () => {
  const { choices } = await client.chat.completions.create({
    model: "tiny-stories",
    messages: [{ role: "user", content: "Once upon a time, there was a small red boat." }],
    max_tokens: 12,
    seed: 1,
  });
  expect(choices[0]?.message.content?.length).toBeGreaterThan(10);
});

it("ends 2,000 short requests with the device memory and slots it began with", {
  timeout: 300_000,
}, async () => {
  await sendRequests(server.url, 40);
  const before = device.memory();
  const outcomes = await sendRequests(server.url, 2000);
  expect(outcomes).toEqual({ whole: 500, streamed: 500, cancelled: 500, wrong: 500 });
  await expect
    .poll(() => prepared.engine.stats())
    .toMatchObject({ queued: 0, running: 0, slots: { used: 0 }, cacheTokens: { used: 0 } });
  expect(device.memory()).toMatchObject({ buffers: before.buffers, bytes: before.bytes });
});
