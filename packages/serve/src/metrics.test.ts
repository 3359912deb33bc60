import { describe, expect, it } from "vitest";
import { createMeter } from "./metrics.js";

const step = (numOutputs: number) =>
  ({ kind: "step", numPromptTokens: 10, numOutputs, durationMs: 1 }) as const;

describe("createMeter", () => {
  it("reads rates over the last seconds and forgets older ones", () => {
    const meter = createMeter();
    expect(meter.read(0).tokensPerSecond).toBe(0);
    for (let ms = 0; ms < 2000; ms += 10) meter.record(step(1), ms);
    expect(meter.read(2000).tokensPerSecond).toBeCloseTo(100, 0);
    expect(meter.read(2000).promptTokensPerSecond).toBeCloseTo(1000, -2);
    expect(meter.read(10_000).tokensPerSecond).toBe(0);
  });

  it("does not take a lone burst for a rate", () => {
    const meter = createMeter();
    meter.record(step(8), 100);
    expect(meter.read(101).tokensPerSecond).toBe(8);
  });

  it("reads the quantiles of the latest latencies", () => {
    const meter = createMeter();
    expect(meter.read(0).perTokenMs).toEqual({ p50: undefined, p95: undefined });
    for (let i = 1; i <= 100; i++) meter.record({ kind: "token", sincePreviousMs: i }, i);
    expect(meter.read(100).perTokenMs).toEqual({ p50: 50, p95: 95 });
    for (let i = 0; i < 600; i++) meter.record({ kind: "token", sincePreviousMs: 7 }, i);
    expect(meter.read(600).perTokenMs).toEqual({ p50: 7, p95: 7 });
  });

  it("counts every kind of end", () => {
    const meter = createMeter();
    for (const outcome of ["stop", "length", "cancelled", "failed"] as const) {
      meter.record({ kind: "finished", outcome, numGeneratedTokens: 1, durationMs: 4 }, 0);
    }
    meter.record({ kind: "refused" }, 0);
    expect(meter.read(0)).toMatchObject({
      totals: { finished: 2, cancelled: 1, failed: 1, refused: 1 },
      requestMs: { p50: 4 },
    });
  });
});
