import { describe, expect, it } from "vitest";
import { sseResponse } from "./sse.js";

const quiet = { onError: (error: unknown) => ({ error: String(error) }), onCancel: () => {} };

describe("sseResponse", () => {
  it("writes one event for each value and a last line", async () => {
    async function* values() {
      yield { text: "line\nbreak" };
      yield 2;
    }
    const response = sseResponse(values(), { ...quiet, done: "[DONE]" });
    expect(response.headers.get("content-type")).toBe("text/event-stream; charset=utf-8");
    expect(await response.text()).toBe('data: {"text":"line\\nbreak"}\n\ndata: 2\n\ndata: [DONE]\n\n');
  });

  it("ends with the error when the values fail", async () => {
    async function* values() {
      yield 1;
      throw new Error("broken");
    }
    expect(await sseResponse(values(), { ...quiet, done: "[DONE]" }).text()).toBe(
      'data: 1\n\ndata: {"error":"Error: broken"}\n\n',
    );
  });

  it("tells when the client goes and lets the values clean up", async () => {
    const told: string[] = [];
    async function* values() {
      try {
        for (let i = 0; ; i++) yield i;
      } finally {
        told.push("cleaned up");
      }
    }
    const reader = sseResponse(values(), {
      ...quiet,
      onCancel: () => told.push("cancelled"),
    }).body?.getReader();
    await reader?.read();
    await reader?.cancel();
    expect(told).toEqual(["cancelled", "cleaned up"]);
  });
});
