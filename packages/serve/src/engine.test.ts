import { createSampler, type Decoder } from "@heddle/models";
import { HeddleError } from "@heddle/tensor";
import { describe, expect, it } from "vitest";
import { answerAlone } from "../reference/engine.js";
import {
  byteTokenizer,
  createFakeDecoder,
  createFakeEngine,
  endId,
  type FakeDecoderOptions,
} from "../test/fake-model.js";
import { collect } from "./collect.js";
import { createEngine, type Engine } from "./engine.js";
import type { EngineEvent } from "./metrics.js";

const greedy = { temperature: 0 };
const model = { tokenizer: byteTokenizer, endOfTextIds: [endId] };

/** A decoder that chooses the most likely token itself. */
function choosing(decoder: Decoder): Decoder & Required<Pick<Decoder, "choose">> {
  return {
    ...decoder,
    async choose(batch) {
      const rows = await decoder.step(batch);
      return rows.map((row) => createSampler(greedy).sample(row, []));
    },
  };
}

/** What a fresh or finished engine must look like. */
function expectIdle(engine: Engine): void {
  const { queued, running, slots, cacheTokens } = engine.stats();
  expect({ queued, running, used: slots.used, tokens: cacheTokens.used }).toEqual({
    queued: 0,
    running: 0,
    used: 0,
    tokens: 0,
  });
}

async function errorOf(work: () => unknown): Promise<unknown> {
  try {
    await work();
  } catch (error) {
    return error;
  }
  throw new Error("expected an error");
}

async function messageOf(work: () => unknown): Promise<string> {
  const error = await errorOf(work);
  return error instanceof Error ? error.message : String(error);
}

describe("createEngine", () => {
  it("answers as the reference engine does", async () => {
    const { engine } = createFakeEngine();
    const request = { prompt: "Once upon a time", maxTokens: 40, ...greedy };
    const answer = await collect(engine.add(request));
    const alone = await answerAlone({ decoder: createFakeDecoder(), ...model }, request);
    expect(answer.text).toBe(alone.text);
    expect(answer.events.map((event) => event.id)).toEqual(alone.ids);
    expect(answer.finishReason).toBe("length");
    expectIdle(engine);
  });

  it("lets a decoder choose tokens that need no logits here, beside requests whose do", async () => {
    const decoder = createFakeDecoder({ numSlots: 3 });
    const numChosen: number[] = [];
    const choosing: typeof decoder = {
      ...decoder,
      async choose(batch, choices) {
        numChosen.push(choices.filter((choice) => choice !== undefined).length);
        const rows = await decoder.step(batch);
        return rows.map((row, at) => {
          const choice = choices[at];
          if (choice === undefined) return row;
          expect(choice).toEqual({ temperature: 0 });
          return createSampler(greedy).sample(row, []);
        });
      },
    };
    const engine = createEngine({ decoder: choosing, ...model });
    const requests = [
      { prompt: "one", maxTokens: 12, ...greedy },
      { prompt: "two", maxTokens: 12, ...greedy, logprobs: 2 },
      { prompt: "three", maxTokens: 12, ...greedy, frequencyPenalty: 0.5 },
    ];
    const answers = await Promise.all(requests.map((request) => collect(engine.add(request))));
    for (const [at, request] of requests.entries()) {
      const alone = await answerAlone({ decoder: createFakeDecoder(), ...model }, request);
      expect(answers[at]?.events.map(({ id }) => id)).toEqual(alone.ids);
    }
    expect(numChosen).toEqual(new Array(12).fill(1));
    expectIdle(engine);
  });

  it("lets a request that is alone go on by itself, until another one comes", async () => {
    const decoder = createFakeDecoder({ numSlots: 2 });
    const stretches: number[] = [];
    const going: Decoder = {
      ...choosing(decoder),
      async *ahead({ slot, token, position, steps, temperature }) {
        expect(temperature).toBe(0);
        const at = stretches.push(0) - 1;
        for (let last = token, step = 0; step < steps; step++) {
          const [row] = await decoder.step({
            tokens: Int32Array.of(last),
            positions: Int32Array.of(position + step),
            slots: Int32Array.of(slot),
            outputs: Int32Array.of(0),
          });
          const sampled = createSampler(greedy).sample(row ?? new Float32Array(0), []);
          last = sampled.id;
          stretches[at] = step + 1;
          yield sampled;
        }
      },
    };
    const engine = createEngine({ decoder: going, ...model });
    const requests = [
      { prompt: "one", maxTokens: 30, ...greedy },
      { prompt: "two", maxTokens: 5, ...greedy },
    ];
    const first = engine.add(requests[0] ?? { prompt: "" });
    let second: Promise<Awaited<ReturnType<typeof collect>>> | undefined;
    const ids: number[] = [];
    for await (const { id } of first) {
      ids.push(id);
      if (ids.length === 10) second = collect(engine.add(requests[1] ?? { prompt: "" }));
    }
    const answers = [ids, (await second)?.events.map(({ id }) => id)];
    for (const [at, request] of requests.entries()) {
      const alone = await answerAlone({ decoder: createFakeDecoder(), ...model }, request);
      expect(answers[at]).toEqual(alone.ids);
    }
    // Alone, together with the second, and alone again.
    expect(stretches.length).toBe(2);
    expect(stretches[0]).toBeLessThan(15);
    expectIdle(engine);
  });

  it("ends a request that goes on by itself when its reader leaves or the device fails", async () => {
    const decoder = createFakeDecoder({ numSlots: 1 });
    let fails = false;
    const going: Decoder = {
      ...choosing(decoder),
      async *ahead({ steps }) {
        for (let step = 0; step < steps; step++) {
          if (fails && step === 2) throw new Error("the device is gone");
          yield { id: 97, logprob: 0 };
        }
      },
    };
    const engine = createEngine({ decoder: going, ...model });
    let count = 0;
    for await (const _token of engine.add({ prompt: "leaves", maxTokens: 30, ...greedy }))
      if (++count === 4) break;
    fails = true;
    const failing = engine.add({ prompt: "fails", maxTokens: 30, ...greedy });
    expect(await messageOf(() => collect(failing))).toContain("the device is gone");
    expectIdle(engine);
  });

  it("batches running requests and lets new ones join between steps", async () => {
    const { engine, decoder } = createFakeEngine({ numSlots: 3 });
    const first = collect(engine.add({ prompt: "a", maxTokens: 30, ...greedy }));
    await new Promise((resolve) => setTimeout(resolve, 5));
    const rest = ["b", "c", "d"].map((prompt) => collect(engine.add({ prompt, maxTokens: 30, ...greedy })));
    await Promise.all([first, ...rest]);
    expect(Math.max(...decoder.steps.map((step) => step.numSequences))).toBe(3);
    expect(decoder.steps.length).toBeLessThan(100); // one after the other would take 120
    expectIdle(engine);
  });

  it("keeps decoding while a long prompt is prefilled in chunks", async () => {
    const { engine, decoder } = createFakeEngine(
      { numSlots: 2, maxSeqLen: 600 },
      { maxTokensPerStep: 33, prefillChunk: 16 },
    );
    const short = collect(engine.add({ prompt: "short", maxTokens: 60, ...greedy }));
    const long = collect(engine.add({ prompt: "x".repeat(500), maxTokens: 2, ...greedy }));
    await Promise.all([short, long]);
    expect(Math.max(...decoder.steps.map((step) => step.numRows))).toBeLessThanOrEqual(33);
    const shared = decoder.steps.filter((step) => step.numSequences === 2);
    expect(shared.length).toBeGreaterThanOrEqual(15); // 500 tokens at 32 a step, each beside a decoding row
  });

  it("ends at end-of-text, at a stop string, at maxTokens and at the end of the context", async () => {
    const says = { says: "The cat sat. " };
    const at = async (fake: FakeDecoderOptions, request: object): Promise<[string, string]> => {
      const { engine } = createFakeEngine({ ...says, ...fake });
      const { text, finishReason } = await collect(engine.add({ prompt: "T", ...greedy, ...request }));
      return [text, finishReason];
    };
    expect(await at({ endAfter: 10 }, {})).toEqual(["e cat sa", "stop"]);
    expect(await at({ endAfter: 10 }, { ignoreEndOfText: true, maxTokens: 9 })).toEqual([
      "e cat sa",
      "length",
    ]);
    expect(await at({}, { stop: ["sat", "zzz"] })).toEqual(["e cat ", "stop"]);
    expect(await at({}, { maxTokens: 4, stop: ["cab"] })).toEqual(["e ca", "length"]);
    expect(await at({ maxSeqLen: 12 }, { maxTokens: 1000 })).toEqual(["e cat sat.", "length"]);
  });

  it("emits whole characters only", async () => {
    const { engine } = createFakeEngine({ says: " żółw 🐢" });
    const { events, text } = await collect(engine.add({ prompt: "", maxTokens: 28, ...greedy }));
    expect(text.replaceAll("\ufffd", "")).toContain("żółw 🐢");
    for (const event of events.slice(0, -1)) expect(event.text).not.toContain("\ufffd");
  });

  it("gives logprobs and alternatives, and the same text for the same seed", async () => {
    const { engine } = createFakeEngine();
    const run = (seed: number) =>
      collect(engine.add({ prompt: "s", maxTokens: 20, temperature: 1, seed, logprobs: 3 }));
    const [one, two, other] = await Promise.all([run(7), run(7), run(8)]);
    expect(two.events).toEqual(one.events);
    expect(other.text).not.toBe(one.text);
    for (const { logprob, top = [] } of one.events) {
      expect(logprob).toBeLessThanOrEqual(0);
      expect(top).toHaveLength(3);
      expect(top[0]?.logprob).toBeGreaterThanOrEqual(top[1]?.logprob ?? 0);
    }
  });
});

describe("cancelling", () => {
  it("throws the signal's reason and frees the slot at once", async () => {
    const { engine } = createFakeEngine({ numSlots: 1 });
    const controller = new AbortController();
    const generation = engine.add({ prompt: "a", signal: controller.signal, ...greedy });
    const next = engine.add({ prompt: "b", maxTokens: 3, ...greedy });
    const error = await errorOf(async () => {
      for await (const _ of generation) controller.abort(new Error("the client left"));
    });
    expect(error).toEqual(new Error("the client left"));
    expect((await collect(next)).events).toHaveLength(3);
    expectIdle(engine);
    expect(engine.stats().totals).toMatchObject({ added: 2, finished: 1, cancelled: 1 });
  });

  it("waits for the step that writes to the slot before it hands the slot on", async () => {
    let release = (): void => {};
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    const { engine, decoder } = createFakeEngine({ numSlots: 1, onStep: () => gate });
    const first = engine.add({ prompt: "first", ...greedy });
    await new Promise((resolve) => setTimeout(resolve, 5));
    const second = collect(engine.add({ prompt: "second", maxTokens: 5, ...greedy }));
    first.cancel();
    expect(engine.stats().slots.used).toBe(1); // the step is still in flight
    release();
    const alone = await answerAlone(
      { decoder: createFakeDecoder(), ...model },
      { prompt: "second", maxTokens: 5, ...greedy },
    );
    expect((await second).text).toBe(alone.text);
    expect(decoder.steps.length).toBe(1 + 5);
    await expect(collect(first)).rejects.toThrow("The generation was cancelled.");
  });

  it("cancels when the reader leaves the loop, and a waiting request without running it", async () => {
    const { engine } = createFakeEngine({ numSlots: 1 });
    const running = engine.add({ prompt: "a", ...greedy });
    const waiting = engine.add({ prompt: "b", ...greedy });
    waiting.cancel();
    for await (const _ of running) break;
    await engine.drain();
    expectIdle(engine);
    expect(engine.stats().totals).toMatchObject({ cancelled: 2, promptTokens: 2 });
  });

  it("refuses a request whose signal is already aborted", async () => {
    const { engine } = createFakeEngine();
    expect(() => engine.add({ prompt: "a", signal: AbortSignal.abort(new Error("gone")) })).toThrow("gone");
    expectIdle(engine);
  });
});

describe("failures", () => {
  it("fails the requests of a failing step and goes on with the others", async () => {
    const { engine } = createFakeEngine({
      numSlots: 1,
      onStep: (_, step) => {
        if (failing && step === 2) throw new Error("out of memory");
      },
    });
    let failing = true;
    const first = engine.add({ prompt: "a", maxTokens: 9, ...greedy });
    const second = engine.add({ prompt: "b", maxTokens: 9, ...greedy });
    const error = await errorOf(() => collect(first));
    failing = false;
    expect(HeddleError.is(error) && error.code).toBe("device");
    expect(error instanceof Error && error.message).toMatchInlineSnapshot(
      `"engine: the decoder must complete a step; got an error with 1 rows (out of memory). The requests of that step ended; the engine goes on with the next."`,
    );
    expect((await collect(second)).events).toHaveLength(9);
    expect(engine.stats().totals).toMatchObject({ failed: 1, finished: 1 });
    expectIdle(engine);
  });

  it("keeps a request's own failure to itself", async () => {
    const decoder = createFakeDecoder();
    const tokenizer = {
      ...byteTokenizer,
      createDecoder: (prompt: readonly number[]) => {
        const inner = byteTokenizer.createDecoder(prompt);
        if (prompt.length !== 4) return inner;
        return {
          ...inner,
          push: () => {
            throw new Error("this text breaks");
          },
        };
      },
    };
    const engine = createEngine({ decoder, ...model, tokenizer });
    const bad = collect(engine.add({ prompt: "bad", maxTokens: 5, ...greedy }));
    const good = collect(engine.add({ prompt: "good", maxTokens: 5, ...greedy }));
    await expect(bad).rejects.toThrow("this text breaks");
    expect((await good).events).toHaveLength(5);
    expectIdle(engine);
  });

  it("names what is wrong with a request and stays usable", async () => {
    const { engine } = createFakeEngine({ maxSeqLen: 16 }, { maxQueued: 1 });
    expect(await messageOf(() => engine.add({ prompt: [] }))).toMatchInlineSnapshot(
      `"engine.add: the prompt must have at least one token; got 0 tokens. Give it text."`,
    );
    expect(await messageOf(() => engine.add({ prompt: "x".repeat(40) }))).toMatchInlineSnapshot(
      `"engine.add: the prompt must leave room for an answer; got 41 prompt tokens, maxSeqLen 16. Shorten the prompt to at most 15 tokens."`,
    );
    expect(await messageOf(() => engine.add({ prompt: [1, 999] }))).toMatchInlineSnapshot(
      `"engine.add: token ids must be integers from 0 to 257; got 999. Encode the prompt with this model's own tokenizer."`,
    );
    expect(await messageOf(() => engine.add({ prompt: "a", maxTokens: 0 }))).toMatchInlineSnapshot(
      `"engine.add: maxTokens must be a positive integer; got 0. Leave it out to fill the context."`,
    );
    expect(await messageOf(() => engine.add({ prompt: "a", stop: ["x", ""] }))).toMatchInlineSnapshot(
      `"createStopMatcher: a stop string must have characters; got an empty one. Remove it."`,
    );
    expect((await collect(engine.add({ prompt: "a", maxTokens: 2, ...greedy }))).events).toHaveLength(2);
  });

  it("refuses when the queue is full, and limits that cannot work", async () => {
    const { engine } = createFakeEngine({}, { maxQueued: 2 });
    const accepted = [1, 2].map(() => collect(engine.add({ prompt: "a", maxTokens: 3, ...greedy })));
    expect(await messageOf(() => engine.add({ prompt: "a" }))).toMatchInlineSnapshot(
      `"engine.add: the queue must have room; got 2 waiting requests, maxQueued 2. Try again when some have finished."`,
    );
    await Promise.all(accepted);
    expect(engine.stats().totals).toMatchObject({ refused: 1, finished: 2 });
    expect(
      await messageOf(() => createFakeEngine({ numSlots: 4 }, { maxTokensPerStep: 4 })),
    ).toMatchInlineSnapshot(
      `"createEngine: maxTokensPerStep must be an integer of at least 5; got 4. Set maxTokensPerStep: 5 or more."`,
    );
  });
});

describe("draining", () => {
  it("finishes what it accepted and refuses what comes later", async () => {
    const { engine } = createFakeEngine({ numSlots: 1 });
    const accepted = [1, 2].map(() => collect(engine.add({ prompt: "a", maxTokens: 5, ...greedy })));
    const drained = engine.drain();
    expect(await messageOf(() => engine.add({ prompt: "late" }))).toMatchInlineSnapshot(
      `"engine.add: the engine must be open; got a request while it drains 2 others. Send it to another server."`,
    );
    await drained;
    for (const answer of await Promise.all(accepted)) expect(answer.events).toHaveLength(5);
    await engine.drain();
    expectIdle(engine);
  });

  it("cancels what is left after the timeout", async () => {
    const { engine } = createFakeEngine({ stepMs: 2, maxSeqLen: 100_000 });
    const endless = collect(engine.add({ prompt: "a", ...greedy }));
    const drained = engine.drain({ timeoutMs: 20 });
    expect(await messageOf(() => endless)).toMatchInlineSnapshot(
      `"engine.drain: requests must end within timeoutMs; got one that runs after 20 ms. Send it to another server."`,
    );
    await drained;
    expectIdle(engine);
  });
});

describe("stats", () => {
  it("counts, times and tells listeners", async () => {
    const { engine, decoder } = createFakeEngine({ numSlots: 2 });
    const events: EngineEvent[] = [];
    const unsubscribe = engine.subscribe((event) => events.push(event));
    await collect(engine.add({ prompt: "abc", maxTokens: 5, ...greedy }));
    unsubscribe();
    await collect(engine.add({ prompt: "abc", maxTokens: 5, ...greedy }));
    const stats = engine.stats();
    expect(stats.totals).toMatchObject({ promptTokens: 8, generatedTokens: 10, steps: decoder.steps.length });
    expect(stats.timeToFirstTokenMs.p50).toBeGreaterThanOrEqual(0);
    expect(stats.tokensPerSecond).toBeGreaterThan(0);
    const kinds = events.map((event) => event.kind);
    expect(kinds.filter((kind) => kind === "step")).toHaveLength(5);
    expect(kinds.filter((kind) => kind === "token")).toHaveLength(4);
    expect([kinds[0], kinds.at(-1)]).toEqual(["added", "finished"]);
  });
});
