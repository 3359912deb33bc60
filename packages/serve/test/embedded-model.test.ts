import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { expect, it } from "vitest";
import { sendRequests } from "./load.js";
import { generateAlone, streamText, useServedFiles } from "./served-files.js";

const manifest = createRequire(import.meta.url).resolve("@heddle/tiny-stories/package.json");
const served = useServedFiles(join(dirname(manifest), "model"), {
  id: "tiny-stories",
  numSlots: 8,
  maxSeqLen: 128,
});

it("streams one story to 32 clients of the openai package at once, as generate() tells it", {
  timeout: 120_000,
}, async () => {
  const { client } = served();
  const alone = await generateAlone(served(), "Once upon a time", 24);
  const body = { model: "tiny-stories", prompt: "Once upon a time", max_tokens: 24, temperature: 0 };
  const told = await Promise.all(Array.from({ length: 32 }, () => streamText(client, body)));
  expect(new Set(told)).toEqual(new Set([alone]));
  expect(alone).toMatch(/^, there was a /);
});

it("chats: the story goes on after what the user wrote", { timeout: 60_000 }, async () => {
  const { choices } = await served().client.chat.completions.create({
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
  const { url, device, prepared } = served();
  await sendRequests(url, 40);
  const before = device.memory();
  const outcomes = await sendRequests(url, 2000);
  expect(outcomes).toEqual({ whole: 500, streamed: 500, cancelled: 500, wrong: 500 });
  await expect
    .poll(() => prepared.engine.stats())
    .toMatchObject({ queued: 0, running: 0, slots: { used: 0 }, cacheTokens: { used: 0 } });
  expect(device.memory()).toMatchObject({ buffers: before.buffers, bytes: before.bytes });
});
