import { join } from "node:path";
import { generate, type LoadedModel } from "@heddle/models";
import { openModel } from "@heddle/models/node";
import { cpu, type Device } from "@heddle/tensor";
import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { collect } from "../src/collect.js";
import { createApp, type PreparedModel, prepareModel } from "../src/http/index.js";
import { type HttpServer, listen } from "../src/node/index.js";

const beginnings = [
  "Once upon a time",
  "Lily and Ben",
  "The little dog",
  "One day, a big cat",
  "Tom was sad because",
];

let device: Device;
let loaded: LoadedModel;
let prepared: PreparedModel;
let server: HttpServer;
let client: OpenAI;

beforeAll(async () => {
  device = cpu();
  loaded = await openModel(join(process.env.HEDDLE_DATA ?? "", "models/stories260K/hf"), { device });
  prepared = prepareModel(loaded, { id: "stories260K", numSlots: 8 });
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

async function generateAlone(prompt: string, maxTokens: number): Promise<string> {
  let text = "";
  for await (const token of generate(loaded, prompt, { maxTokens, temperature: 0 })) text += token.text;
  return text;
}

describe("a real trained model", () => {
  it("says in a batch what generate() says alone", async () => {
    const alone: string[] = [];
    for (const beginning of beginnings) alone.push(await generateAlone(beginning, 80));
    const batched = await Promise.all(
      beginnings.map((prompt) => collect(prepared.engine.add({ prompt, maxTokens: 80, temperature: 0 }))),
    );
    expect(batched.map(({ text }) => text)).toEqual(alone);
  });

  it("streams to 32 clients of the openai package at once", async () => {
    const streamed = await Promise.all(
      Array.from({ length: 32 }, async (_, i) => {
        const prompt = beginnings[i % beginnings.length] ?? "";
        const body = { model: "stories260K", prompt, max_tokens: 40, temperature: 0, stream: true } as const;
        let text = "";
        for await (const chunk of await client.completions.create(body)) text += chunk.choices[0]?.text ?? "";
        return text;
      }),
    );
    for (const [i, text] of streamed.entries()) expect(text).toBe(streamed[i % beginnings.length]);
    expect(streamed[0]).toBe(await generateAlone(beginnings[0] ?? "", 40));
  });

  it("frees the cache when clients leave, and ends with the device memory it began with", async () => {
    const ask = (i: number) =>
      client.completions.create({
        model: "stories260K",
        prompt: beginnings[i % beginnings.length] ?? "",
        max_tokens: 12,
        stream: true,
      });
    const before = device.memory().bytes;
    for (let round = 0; round < 10; round++) {
      const streams = await Promise.all(Array.from({ length: 20 }, (_, i) => ask(i)));
      await Promise.all(
        streams.map(async (stream, i) => {
          for await (const _ of stream) if (i % 3 === 0) break;
        }),
      );
    }
    await expect
      .poll(() => prepared.engine.stats())
      .toMatchObject({ queued: 0, running: 0, slots: { used: 0 } });
    expect(device.memory().bytes).toBe(before);
  });

  it("refuses a prompt that is too long and serves on", async () => {
    const long = client.completions.create({ model: "stories260K", prompt: "word ".repeat(3000) });
    await expect(long).rejects.toThrow(/the prompt must leave room for an answer; got \d+ prompt tokens/);
    const { choices } = await client.completions.create({
      model: "stories260K",
      prompt: "Once",
      max_tokens: 3,
    });
    expect(choices[0]?.text.length).toBeGreaterThan(0);
  });
});
