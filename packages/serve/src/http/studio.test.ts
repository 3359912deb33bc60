import { describe, expect, it } from "vitest";
import { appOver, asJson, refusal, says } from "../../test/fake-app.js";
import { createFakeEngine, fakeModel } from "../../test/fake-model.js";
import { createApp } from "./app.js";

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
      prefersChat: true,
      defaults: { temperature: 0 },
      facts: { family: "fake" },
    });
  });

  it("shows attention where the model does, and refuses layers and heads that it does not have", async () => {
    const { engine } = createFakeEngine();
    const asked: unknown[] = [];
    const attention = {
      numLayers: 2,
      numHeads: 3,
      picture: async (ids: readonly number[], at: unknown) => {
        asked.push(ids, at);
        return "<svg/>";
      },
    };
    const app = createApp({ engine, model: { ...fakeModel, attention } });
    const post = (body: unknown) =>
      app.request("/heddle/attention", {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(body),
      });
    const { json } = await asJson(post({ text: "ab", layer: 1, head: 2 }));
    expect(json).toEqual({ svg: "<svg/>", shown: 2, tokens: 2 });
    expect(asked).toEqual([[97, 98], { layer: 1, head: 2, labels: ["a", "b"] }]);
    expect((await asJson(app.request("/heddle/model"))).json).toMatchObject({
      attention: { numLayers: 2, numHeads: 3 },
    });
    expect(await refusal(post({ text: "ab", layer: 2, head: 0 }))).toMatchObject({
      status: 400,
      param: "layer",
    });
    expect(await refusal(post({ text: "", layer: 0, head: 0 }))).toMatchObject({
      status: 400,
      param: "text",
    });
    const { post: without } = appOver();
    expect(await refusal(without("/heddle/attention", { text: "a", layer: 0, head: 0 }))).toMatchObject({
      status: 404,
    });
  });

  it("shows what each layer would say where the model does, in words", async () => {
    const { engine } = createFakeEngine();
    const asked: unknown[] = [];
    const lens = {
      numLayers: 1,
      read: async (ids: readonly number[], options: { readonly top: number }) => {
        asked.push(ids.length, options);
        const cell = { entropy: 0.5, top: [{ id: 98, probability: 0.75 }] };
        return [ids.map(() => cell), ids.map(() => cell)];
      },
    };
    const app = createApp({ engine, model: { ...fakeModel, lens } });
    const post = (text: string) =>
      app.request("/heddle/lens", {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ text }),
      });
    const cell = { entropy: 0.5, top: [{ id: 98, token: "b", probability: 0.75 }] };
    expect((await asJson(post("a"))).json).toEqual({ tokens: ["a"], layers: [[cell], [cell]], numTokens: 1 });
    const { json } = await asJson(post("a".repeat(100)));
    expect(json).toMatchObject({ numTokens: 100, tokens: Array(64).fill("a") });
    expect(asked).toEqual([1, { top: 5 }, 64, { top: 5 }]);
    expect((await asJson(app.request("/heddle/model"))).json).toMatchObject({ lens: { numLayers: 1 } });
    expect(await refusal(post(""))).toMatchObject({ status: 400, param: "text" });
    const { post: without } = appOver();
    expect(await refusal(without("/heddle/lens", { text: "a" }))).toMatchObject({ status: 404 });
  });

  it("prefers to continue texts where the chat template knows no roles", async () => {
    const template = "{% for m in messages %}{{ m['content'] }}{% endfor %}";
    const { engine } = createFakeEngine();
    const app = createApp({ engine, model: { ...fakeModel, chat: { template } } });
    const { json } = await asJson(app.request("/heddle/model"));
    expect(json).toMatchObject({ hasChat: true, prefersChat: false });
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
