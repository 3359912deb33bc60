import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { collect } from "../src/collect.js";
import { generateAlone, streamText, useServedFiles } from "./served-files.js";

const beginnings = [
  "Once upon a time",
  "Lily and Ben",
  "The little dog",
  "One day, a big cat",
  "Tom was sad because",
];

const served = useServedFiles(join(process.env.HEDDLE_DATA ?? "", "models/stories260K/hf"), {
  id: "stories260K",
  numSlots: 8,
});

describe("a real trained model", () => {
  it("says in a batch what generate() says alone", async () => {
    const { engine } = served().prepared;
    const alone: string[] = [];
    for (const beginning of beginnings) alone.push(await generateAlone(served(), beginning, 80));
    const batched = await Promise.all(
      beginnings.map((prompt) => collect(engine.add({ prompt, maxTokens: 80, temperature: 0 }))),
    );
    expect(batched.map(({ text }) => text)).toEqual(alone);
  });

  it("streams to 32 clients of the openai package at once", async () => {
    const { client } = served();
    const streamed = await Promise.all(
      Array.from({ length: 32 }, (_, i) => {
        const prompt = beginnings[i % beginnings.length] ?? "";
        return streamText(client, { model: "stories260K", prompt, max_tokens: 40, temperature: 0 });
      }),
    );
    for (const [i, text] of streamed.entries()) expect(text).toBe(streamed[i % beginnings.length]);
    expect(streamed[0]).toBe(await generateAlone(served(), beginnings[0] ?? "", 40));
  });

  it("frees the cache when clients leave, and ends with the device memory it began with", async () => {
    const { client, device, prepared } = served();
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
    const { client } = served();
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
