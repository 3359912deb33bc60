import { describe, expect, it } from "vitest";
import { fakeRequest } from "../test/fake-request.js";
import { packBatch } from "./batch.js";
import type { Request } from "./request.js";
import { createScheduler, type Scheduler } from "./scheduler.js";
import { createSlotPool } from "./slot-pool.js";

function schedulerFor({ numSlots = 4, maxTokensPerStep = 16, prefillChunk = 4, maxQueued = 9 }): Scheduler {
  return createScheduler({ slots: createSlotPool(numSlots), maxQueued, maxTokensPerStep, prefillChunk });
}

/** Plans a step and pretends that it ran: `[id, start, count]` for each part. */
function run(scheduler: Scheduler): [string, number, number][] {
  const parts = scheduler.schedule();
  for (const { request, slot, start, count, needsLogits } of parts) {
    request.numStored = start + count;
    if (!needsLogits) continue;
    request.phase = { state: "decoding", slot };
    request.tokens.push(0);
  }
  return parts.map(({ request, start, count }) => [request.id, start, count]);
}

function enqueue(scheduler: Scheduler, lengths: Record<string, number>): Record<string, Request> {
  const requests = Object.entries(lengths).map(([id, length]) => fakeRequest(id, length));
  for (const request of requests) scheduler.enqueue(request);
  return Object.fromEntries(requests.map((request) => [request.id, request]));
}

describe("createScheduler", () => {
  it("admits in order of arrival, as many as there are slots", () => {
    const scheduler = schedulerFor({ numSlots: 2 });
    const { a } = enqueue(scheduler, { a: 2, b: 2, c: 2 });
    expect(run(scheduler)).toEqual([
      ["a", 0, 2],
      ["b", 0, 2],
    ]);
    expect(scheduler.numQueued).toBe(1);
    if (a !== undefined) scheduler.remove(a);
    expect(run(scheduler)).toEqual([
      ["b", 2, 1],
      ["c", 0, 2],
    ]);
  });

  it("splits long prompts over steps and gives the last part alone its logits", () => {
    const scheduler = schedulerFor({ maxTokensPerStep: 8, prefillChunk: 8 });
    enqueue(scheduler, { long: 19 });
    const steps = [scheduler.schedule()];
    expect(steps[0]?.[0]).toMatchObject({ start: 0, count: 8, needsLogits: false });
    expect([run(scheduler), run(scheduler), run(scheduler), run(scheduler)]).toEqual([
      [["long", 0, 8]],
      [["long", 8, 8]],
      [["long", 16, 3]],
      [["long", 19, 1]],
    ]);
  });

  it("lets a short prompt pass a long one, and serves long ones in turns", () => {
    const scheduler = schedulerFor({ maxTokensPerStep: 8, prefillChunk: 4 });
    enqueue(scheduler, { x: 40, y: 40, short: 3 });
    expect(run(scheduler)).toEqual([
      ["x", 0, 4],
      ["y", 0, 4],
    ]);
    expect(run(scheduler)).toEqual([
      ["short", 0, 3],
      ["x", 4, 4],
      ["y", 4, 1],
    ]);
    expect(run(scheduler)).toEqual([
      ["short", 3, 1],
      ["x", 8, 4],
      ["y", 5, 3],
    ]);
  });

  it("always includes every decoding request", () => {
    const scheduler = schedulerFor({ numSlots: 3, maxTokensPerStep: 4, prefillChunk: 4 });
    enqueue(scheduler, { a: 1, b: 1 });
    run(scheduler);
    enqueue(scheduler, { long: 9 });
    for (let step = 0; step < 4; step++) {
      const parts = run(scheduler);
      expect(parts.slice(0, 2).map(([id, , count]) => [id, count])).toEqual([
        ["a", 1],
        ["b", 1],
      ]);
      expect(parts.reduce((sum, [, , count]) => sum + count, 0)).toBe(4);
    }
  });

  it("uses what a lease says is cached already", () => {
    const slots = { ...createSlotPool(1), acquire: () => ({ slot: 0, numCached: 5 }) };
    const scheduler = createScheduler({ slots, maxQueued: 1, maxTokensPerStep: 16, prefillChunk: 16 });
    enqueue(scheduler, { a: 8 });
    expect(run(scheduler)).toEqual([["a", 5, 3]]);
  });

  it("refuses a request beyond maxQueued", () => {
    const scheduler = schedulerFor({ maxQueued: 1 });
    enqueue(scheduler, { a: 1 });
    expect(() => enqueue(scheduler, { b: 1 })).toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: engine.add: the queue must have room; got 1 waiting requests, maxQueued 1. Try again when some have finished.]`,
    );
  });
});

describe("packBatch", () => {
  it("packs rows of one request together and names the rows whose logits are wanted", () => {
    const a = { ...fakeRequest("a", 5), tokens: [10, 11, 12, 13, 14] };
    const b = { ...fakeRequest("b", 2), tokens: [20, 21] };
    const batch = packBatch([
      { request: b, slot: 3, start: 1, count: 1, needsLogits: true },
      { request: a, slot: 1, start: 2, count: 2, needsLogits: false },
    ]);
    expect(batch).toEqual({
      tokens: Int32Array.of(21, 12, 13),
      positions: Int32Array.of(1, 2, 3),
      slots: Int32Array.of(3, 1, 1),
      outputs: Int32Array.of(0),
    });
  });
});

describe("createSlotPool", () => {
  it("leases each slot once and takes it back once", () => {
    const pool = createSlotPool(2);
    const leased = [pool.acquire([1]), pool.acquire([1]), pool.acquire([1])];
    expect(leased).toEqual([{ slot: 0, numCached: 0 }, { slot: 1, numCached: 0 }, undefined]);
    pool.release(0);
    expect(pool.numFree).toBe(1);
    expect(() => pool.release(0)).toThrow("Heddle bug: cache slot 0 is released twice");
  });
});
