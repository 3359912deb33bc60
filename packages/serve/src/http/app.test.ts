import { describe, expect, it } from "vitest";
import { appOver, asJson, events, refusal, says } from "../../test/fake-app.js";

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
