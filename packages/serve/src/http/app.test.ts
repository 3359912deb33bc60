import { describe, expect, it } from "vitest";
import { createFakeEngine, fakeModel } from "../../test/fake-model.js";
import { type AppOptions, createApp } from "./app.js";

const says = "The cat sat. ";

function appOver(fake: Parameters<typeof createFakeEngine>[0] = { says }, options: Partial<AppOptions> = {}) {
  const { engine, decoder } = createFakeEngine(fake, { maxQueued: 4 });
  const app = createApp({ engine, model: fakeModel, ...options });
  const post = (path: string, body: unknown, headers: Record<string, string> = {}) =>
    app.request(path, {
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body: typeof body === "string" ? body : JSON.stringify(body),
    });
  return { app, engine, decoder, post };
}

/** Status, message, param and code of an error response. */
async function refusal(response: Response | Promise<Response>) {
  const { status, json } = await asJson(response);
  const { message, param, code } = json.error;
  return { status, message, param, code };
}

async function asJson(response: Response | Promise<Response>) {
  const settled = await response;
  return { status: settled.status, headers: settled.headers, json: JSON.parse(await settled.text()) };
}

/** The JSON of each event, and the last line. */
async function events(response: Response | Promise<Response>) {
  const text = await (await response).text();
  const lines = text.split("\n\n").filter((line) => line !== "");
  const data = lines.map((line) => line.replace(/^data: /, ""));
  return {
    last: data.at(-1),
    chunks: data.filter((line) => line !== "[DONE]").map((line) => JSON.parse(line)),
  };
}

describe("/v1/completions", () => {
  it("completes a text", async () => {
    const { post } = appOver();
    const { status, json } = await asJson(post("/v1/completions", { prompt: "T", max_tokens: 7 }));
    expect(status).toBe(200);
    expect(json).toMatchObject({
      object: "text_completion",
      model: "fake-bytes",
      choices: [{ index: 0, text: "e cat s", logprobs: null, finish_reason: "length" }],
      usage: { prompt_tokens: 2, completion_tokens: 7, total_tokens: 9 },
    });
    expect(json.id).toMatch(/^cmpl-/);
    expect(json.created).toBeGreaterThan(1_700_000_000);
  });

  it("generates 16 tokens unless told otherwise, as OpenAI does", async () => {
    const { post } = appOver();
    const { json } = await asJson(post("/v1/completions", { prompt: "T" }));
    expect(json.usage.completion_tokens).toBe(16);
  });

  it("takes several prompts and n, as text or ids", async () => {
    const { post } = appOver({});
    const one = await asJson(post("/v1/completions", { prompt: [256, 97], max_tokens: 5 }));
    const { json } = await asJson(post("/v1/completions", { prompt: ["a", "b"], n: 2, max_tokens: 5 }));
    const texts = json.choices.map((choice: { text: string }) => choice.text);
    expect(json.choices.map((choice: { index: number }) => choice.index)).toEqual([0, 1, 2, 3]);
    expect(texts[0]).toBe(one.json.choices[0].text);
    expect(texts[1]).toBe(texts[0]); // greedy
    expect(texts[2]).not.toBe(texts[0]);
    expect(json.usage).toEqual({ prompt_tokens: 4, completion_tokens: 20, total_tokens: 24 });
  });

  it("gives each of n sampled choices its own seed, and repeats itself for the same seed", async () => {
    const { post } = appOver({});
    const body = { prompt: "a", n: 3, max_tokens: 12, temperature: 1, seed: 5 };
    const texts = async () => {
      const { json } = await asJson(post("/v1/completions", body));
      return json.choices.map((choice: { text: string }) => choice.text);
    };
    const first = await texts();
    expect(new Set(first).size).toBe(3);
    expect(await texts()).toEqual(first);
  });

  it("reports logprobs, alternatives and offsets", async () => {
    const { post } = appOver();
    const { json } = await asJson(post("/v1/completions", { prompt: "T", max_tokens: 3, logprobs: 2 }));
    const { tokens, token_logprobs, top_logprobs, text_offset } = json.choices[0].logprobs;
    expect(tokens).toEqual(["e", " ", "c"]);
    expect(text_offset).toEqual([0, 1, 2]);
    for (const [i, top] of top_logprobs.entries()) {
      expect(Object.keys(top)).toHaveLength(2);
      expect(top[tokens[i]]).toBeCloseTo(token_logprobs[i], 10);
    }
  });

  it("streams chunks whose text adds up to the whole answer", async () => {
    const { post } = appOver();
    const body = { prompt: "T", max_tokens: 9, logprobs: 1 };
    const whole = (await asJson(post("/v1/completions", body))).json.choices[0];
    const { chunks, last } = await events(
      post("/v1/completions", { ...body, stream: true, stream_options: { include_usage: true } }),
    );
    expect(last).toBe("[DONE]");
    const usage = chunks.pop();
    expect(usage).toMatchObject({
      choices: [],
      usage: { prompt_tokens: 2, completion_tokens: 9, total_tokens: 11 },
    });
    expect(new Set(chunks.map((chunk) => chunk.id)).size).toBe(1);
    expect(chunks.map((chunk) => chunk.choices[0].text).join("")).toBe(whole.text);
    expect(chunks.map((chunk) => chunk.choices[0].finish_reason)).toEqual([...Array(8).fill(null), "length"]);
    expect(chunks.flatMap((chunk) => chunk.choices[0].logprobs.text_offset)).toEqual(
      whole.logprobs.text_offset,
    );
    for (const chunk of chunks) expect(chunk.usage).toBeNull();
  });

  it("stops before a stop string and names ids with return_tokens", async () => {
    const { post } = appOver();
    const { json } = await asJson(
      post("/v1/completions", { prompt: "T", stop: "sat", max_tokens: 50, return_tokens: true, logprobs: 2 }),
    );
    const [choice] = json.choices;
    expect([choice.text, choice.finish_reason]).toEqual(["e cat ", "stop"]);
    expect(choice.tokens[0]).toMatchObject({ id: 101, token: "e", top: [{ id: 101 }, {}] });
  });
});

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

describe("a full queue", () => {
  it("answers 429 with Retry-After, keeps nothing of the refused request, and serves on", async () => {
    const { post, engine } = appOver({ numSlots: 1, stepMs: 1 });
    const accepted = [0, 1, 2, 3].map(() => asJson(post("/v1/completions", { prompt: "a", max_tokens: 3 })));
    await new Promise((resolve) => setImmediate(resolve));
    const refused = await asJson(post("/v1/completions", { prompt: ["a", "b", "c"], max_tokens: 3 }));
    expect(refused.status).toBe(429);
    expect(Number(refused.headers.get("retry-after"))).toBeGreaterThanOrEqual(1);
    expect(refused.json.error).toMatchObject({ type: "rate_limit_error", code: "queue_full" });
    for (const { status } of await Promise.all(accepted)) expect(status).toBe(200);
    expect(engine.stats()).toMatchObject({ queued: 0, running: 0 });
    expect((await post("/v1/completions", { prompt: "a", max_tokens: 3 })).status).toBe(200);
  });
});

describe("failures behind the interface", () => {
  it("answers 500 for a failing device, inside the stream if that has begun, and serves on", async () => {
    let isFailing = true;
    const { post } = appOver({
      says,
      onStep: (_, step) => {
        if (isFailing && step >= 2) throw new Error("device lost");
      },
    });
    const { chunks, last } = await events(post("/v1/completions", { prompt: "a", stream: true }));
    expect(chunks).toHaveLength(3);
    expect(last).toContain("device lost");
    expect(chunks.at(-1).error.type).toBe("server_error");
    expect(await refusal(post("/v1/completions", { prompt: "a" }))).toMatchObject({ status: 500 });
    isFailing = false;
    expect((await post("/v1/completions", { prompt: "a" })).status).toBe(200);
  });

  it("answers 503 while draining, also on /health", async () => {
    const { app, post, engine } = appOver();
    expect(await asJson(app.request("/health"))).toMatchObject({ status: 200, json: { status: "ok" } });
    await engine.drain();
    expect(await asJson(app.request("/health"))).toMatchObject({ status: 503, json: { status: "draining" } });
    expect(await refusal(post("/v1/completions", { prompt: "a" }))).toMatchObject({
      status: 503,
      code: "server_draining",
    });
  });
});

describe("API key", () => {
  const guarded = () =>
    appOver(
      { says },
      { apiKey: "secret-key", metrics: { contentType: "text/plain", render: async () => "m" } },
    );

  it.each(["/v1/models", "/heddle/model", "/heddle/stats", "/metrics"])("guards %s", async (path) => {
    const { app } = guarded();
    const expected = { status: 401, code: "invalid_api_key" };
    expect(await refusal(app.request(path))).toMatchObject({
      ...expected,
      message: 'The request must carry this server\'s API key; got none. Send "Authorization: Bearer KEY".',
    });
    expect(
      await refusal(app.request(path, { headers: { authorization: "Bearer secret-kez" } })),
    ).toMatchObject({
      ...expected,
      message:
        'The request must carry this server\'s API key; got a different one. Send "Authorization: Bearer KEY".',
    });
    const response = await app.request(path, { headers: { authorization: "Bearer secret-key" } });
    expect(response.status).toBe(200);
    await response.body?.cancel();
  });

  it("guards posts and leaves /health open", async () => {
    const { app, post } = guarded();
    expect((await post("/v1/completions", { prompt: "a" })).status).toBe(401);
    expect(
      (await post("/v1/completions", { prompt: "a" }, { authorization: "Bearer secret-key" })).status,
    ).toBe(200);
    expect((await app.request("/health")).status).toBe(200);
  });
});

describe("what the studio needs", () => {
  it("tokenizes", async () => {
    const { post } = appOver();
    expect((await asJson(post("/heddle/tokenize", { text: "aé" }))).json).toEqual({
      ids: [97, 0xc3, 0xa9],
      tokens: ["a", "é", "é"],
      offsets: [
        [0, 1],
        [1, 2],
        [1, 2],
      ],
    });
    expect(await refusal(post("/heddle/tokenize", { text: 5 }))).toMatchObject({
      status: 400,
      param: "text",
    });
  });

  it("describes the model", async () => {
    const { app } = appOver();
    expect((await asJson(app.request("/heddle/model"))).json).toEqual({
      id: "fake-bytes",
      vocabSize: 258,
      maxSeqLen: 256,
      hasChat: true,
      defaults: { temperature: 0 },
      facts: { family: "fake" },
    });
  });

  it("streams the engine's statistics and ends when the client goes", async () => {
    const { app } = appOver();
    const response = await app.request("/heddle/stats?intervalMs=100");
    const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
    for (let i = 0; i < 2; i++) {
      const { value } = (await reader?.read()) ?? {};
      expect(JSON.parse(value?.replace(/^data: /, "") ?? "")).toMatchObject({
        queued: 0,
        slots: { used: 0, total: 4 },
      });
    }
    await reader?.cancel();
  });

  it("serves the page with a strict policy, and its files", async () => {
    const file = (text: string, contentType: string, isImmutable: boolean) => ({
      body: new TextEncoder().encode(text),
      contentType,
      isImmutable,
    });
    const page = new Map([
      ["/index.html", file("<!doctype html>", "text/html; charset=utf-8", false)],
      ["/assets/a-1.js", file("1", "text/javascript", true)],
    ]);
    const { app } = appOver({ says }, { page, apiKey: "k" });
    const root = await app.request("/");
    expect([root.status, await root.text()]).toEqual([200, "<!doctype html>"]);
    expect(root.headers.get("content-security-policy")).toContain("default-src 'none'");
    expect(root.headers.get("cache-control")).toBe("no-cache");
    expect((await app.request("/assets/a-1.js")).headers.get("cache-control")).toContain("immutable");
    expect((await app.request("/assets/none.js")).status).toBe(401); // nothing there; the rest needs the key
  });

  it("lets pages of other origins in only where told", async () => {
    const headers = { origin: "https://example.com" };
    expect(
      (await appOver().app.request("/health", { headers })).headers.get("access-control-allow-origin"),
    ).toBeNull();
    const { app } = appOver({}, { corsOrigins: ["https://example.com"] });
    expect((await app.request("/health", { headers })).headers.get("access-control-allow-origin")).toBe(
      "https://example.com",
    );
  });
});
