import { describe, expect, it } from "vitest";
import { appOver, asJson, events, refusal } from "../../test/fake-app.js";
import { fakeModel } from "../../test/fake-model.js";

describe("/v1/chat/completions", () => {
  const messages = [{ role: "user", content: "Hi" }];

  it("renders the messages by the template and answers", async () => {
    const { post } = appOver({});
    const rendered = "<system>Be brief.<user>Hi<assistant>";
    const ids = [...new TextEncoder().encode(rendered)];
    const plain = await asJson(post("/v1/completions", { prompt: ids, max_tokens: 6 }));
    const { json } = await asJson(
      post("/v1/chat/completions", {
        messages: [
          { role: "developer", content: "Be brief." },
          { role: "user", content: [{ type: "text", text: "Hi" }] },
        ],
        max_completion_tokens: 6,
        max_tokens: 99,
      }),
    );
    expect(json).toMatchObject({
      object: "chat.completion",
      choices: [
        {
          message: { role: "assistant", content: plain.json.choices[0].text, refusal: null },
          finish_reason: "length",
          logprobs: null,
        },
      ],
      usage: { prompt_tokens: ids.length, completion_tokens: 6 },
    });
  });

  it("streams a role first, then text, then the reason", async () => {
    const { post } = appOver();
    const { chunks } = await events(post("/v1/chat/completions", { messages, max_tokens: 3, stream: true }));
    expect(chunks.map((chunk) => chunk.choices[0].delta)).toMatchObject([
      { role: "assistant", content: "" },
      { content: expect.any(String) },
      { content: expect.any(String) },
      { content: expect.any(String) },
    ]);
    expect(chunks.at(-1)).toMatchObject({
      object: "chat.completion.chunk",
      choices: [{ finish_reason: "length" }],
    });
    expect(chunks[0]).not.toHaveProperty("usage");
  });

  it("reports logprobs with bytes, but for parts of characters", async () => {
    const { post } = appOver({ says: "aé" });
    const { json } = await asJson(
      post("/v1/chat/completions", { messages, max_tokens: 3, logprobs: true, top_logprobs: 2 }),
    );
    const { content } = json.choices[0].logprobs;
    expect(content).toHaveLength(3);
    expect(content[0].top_logprobs).toHaveLength(2);
    const pairs = content.map(({ token, bytes }: { token: string; bytes: unknown }) =>
      JSON.stringify([token, bytes]),
    );
    expect(pairs.sort()).toEqual(['["a",[97]]', '["\ufffd",null]', '["\ufffd",null]']);
  });

  it("refuses what the template refuses, and a model without one", async () => {
    const { post } = appOver();
    const tool = await refusal(post("/v1/chat/completions", { messages: [{ role: "tool", content: "x" }] }));
    expect(tool.status).toBe(400);
    expect(tool.message).toContain("no tools here");
    const { chat: _, ...base } = fakeModel;
    expect(await refusal(appOver({}, { model: base }).post("/v1/chat/completions", { messages }))).toEqual({
      status: 400,
      message: "The model must have a chat template; got fake-bytes, which has none. Use /v1/completions.",
      param: null,
      code: "no_chat_template",
    });
  });
});
