import { describe, expect, it } from "vitest";
import { appOver, asJson, events } from "../../test/fake-app.js";

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

  it("streams several choices side by side, each under its index", async () => {
    const { post } = appOver({});
    const body = { prompt: ["a", "b"], n: 2, max_tokens: 6, temperature: 1, seed: 3 };
    const { json } = await asJson(post("/v1/completions", body));
    const { chunks } = await events(post("/v1/completions", { ...body, stream: true }));
    const texts = ["", "", "", ""];
    for (const { choices } of chunks) texts[choices[0].index] += choices[0].text;
    expect(texts).toEqual(json.choices.map((choice: { text: string }) => choice.text));
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
