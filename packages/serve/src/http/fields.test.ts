import { describe, expect, it } from "vitest";
import { appOver, asJson, refusal } from "../../test/fake-app.js";

describe("what is wrong is named", () => {
  const table: [string, string, unknown, string | null, string][] = [
    [
      "a wrong type",
      "/v1/completions",
      { prompt: "a", temperature: "hot" },
      "temperature",
      "temperature: Invalid input: expected number, received string.",
    ],
    [
      "a range",
      "/v1/completions",
      { prompt: "a", top_p: 0 },
      "top_p",
      "top_p: Too small: expected number to be >0.",
    ],
    [
      "a missing field",
      "/v1/completions",
      {},
      "prompt",
      "prompt: Invalid input: expected text, token ids, or an array of either.",
    ],
    [
      "a nested field",
      "/v1/chat/completions",
      { messages: [{ role: "king", content: "" }] },
      "messages[0].role",
      'messages[0].role: Invalid option: expected one of "system"|"developer"|"user"|"assistant"|"tool".',
    ],
    [
      "an image",
      "/v1/chat/completions",
      { messages: [{ role: "user", content: [{ type: "image_url" }] }] },
      "messages[0].content",
      "messages[0].content: Invalid input: expected text or an array of text parts.",
    ],
    [
      "no messages",
      "/v1/chat/completions",
      { messages: [] },
      "messages",
      "messages: Too small: expected array to have >=1 items.",
    ],
    [
      "a body that is no object",
      "/v1/completions",
      [],
      null,
      "The body: Invalid input: expected object, received array.",
    ],
    [
      "stop",
      "/v1/completions",
      { prompt: "a", stop: 3 },
      "stop",
      "stop: Invalid input: expected a non-empty string or an array of up to 16 of them.",
    ],
    [
      "what it cannot do",
      "/v1/completions",
      { prompt: "a", logit_bias: { 5: 1 } },
      "logit_bias",
      "logit_bias: this server does not support it. Leave it out.",
    ],
    [
      "tools",
      "/v1/chat/completions",
      { messages: [{ role: "user", content: "a" }], tools: [{}] },
      "tools",
      "tools: this server does not support it. Leave it out.",
    ],
    [
      "top_logprobs alone",
      "/v1/chat/completions",
      { messages: [{ role: "user", content: "a" }], top_logprobs: 2 },
      "top_logprobs",
      "top_logprobs: needs logprobs; got logprobs false. Set logprobs to true.",
    ],
  ];
  it.each(table)("%s", async (_, path, body, param, message) => {
    const { post } = appOver();
    expect(await refusal(post(path, body))).toMatchObject({ status: 400, param, message });
  });

  it("invalid JSON, by where it breaks", async () => {
    const { post } = appOver();
    const { status, message } = await refusal(post("/v1/completions", '{"prompt": "a",}'));
    expect(status).toBe(400);
    expect(message).toMatch(/^The body must be valid JSON; got 16 characters that are not: .*position 15/);
  });

  it("another content type, which a foreign page could send without asking", async () => {
    const { post } = appOver();
    expect(await refusal(post("/v1/completions", "{}", { "content-type": "text/plain" }))).toMatchObject({
      status: 415,
      message: 'The body must be JSON; got content-type text/plain. Send "content-type: application/json".',
    });
  });

  it("a prompt that is too long, with both lengths", async () => {
    const { post } = appOver({ maxSeqLen: 32 });
    expect(await refusal(post("/v1/completions", { prompt: "x".repeat(50) }))).toEqual({
      status: 400,
      message:
        "engine.add: the prompt must leave room for an answer; got 51 prompt tokens, maxSeqLen 32. " +
        "Shorten the prompt to at most 31 tokens.",
      param: null,
      code: "context_length_exceeded",
    });
  });

  it("an unknown model and an unknown URL", async () => {
    const { post, app } = appOver();
    expect(await refusal(post("/v1/completions", { model: "gpt-9", prompt: "a" }))).toEqual({
      status: 404,
      message: "The model must be one that this server offers; got gpt-9. Use fake-bytes.",
      param: "model",
      code: "model_not_found",
    });
    expect((await refusal(app.request("/v1/models/gpt-9"))).code).toBe("model_not_found");
    expect(await refusal(app.request("/v2/x"))).toMatchObject({
      status: 404,
      message: "The server must know the URL; got GET /v2/x. See GET /v1/models.",
    });
  });

  it("a body that is too large, with and without a declared length", async () => {
    const { app, post } = appOver({}, { maxBodyBytes: 1000 });
    const body = JSON.stringify({ prompt: "x".repeat(2000) });
    const expected = {
      status: 413,
      message: "The body must have at most 1000 bytes; got more. Send less text.",
    };
    expect(
      await refusal(post("/v1/completions", body, { "content-length": String(body.length) })),
    ).toMatchObject(expected);
    const stream = new Blob([body]).stream();
    const request = new Request("http://x/v1/completions", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: stream,
      duplex: "half",
    } as RequestInit);
    expect(await refusal(app.request(request))).toMatchObject(expected);
  });

  it("tolerates fields it does not know, and null for absent ones", async () => {
    const { post } = appOver();
    const { status } = await asJson(
      post("/v1/completions", {
        prompt: "a",
        max_tokens: 1,
        stop: null,
        user: "me",
        store: true,
        temperature: null,
      }),
    );
    expect(status).toBe(200);
  });
});
