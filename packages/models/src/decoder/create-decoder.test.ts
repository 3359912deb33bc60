import { disposeTree } from "@heddle/tensor";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { devices } from "../../test/devices.js";
import { goldenExpected, goldenNames, goldenSource, rowsOf } from "../../test/golden-model.js";
import { holdModel } from "../../test/held-model.js";
import { relativeError } from "../../test/relative-error.js";
import { showsOf } from "../../test/shows.js";
import { createSampler } from "../generation/sampling/sampler.js";
import { argmaxOf } from "../generation/sampling/scores.js";
import { loadModel } from "../loading/load-model.js";
import { batchInputs } from "./batch-inputs.js";
import { createDecoder } from "./create-decoder.js";
import type { Decoder } from "./decoder-interface.js";

/** Feeds consecutive tokens of one slot and gives the logits after the last. */
async function feed(
  decoder: Decoder,
  ids: readonly number[],
  { slot = 0, start = 0 } = {},
): Promise<Float32Array> {
  const [logits = new Float32Array(0)] = await decoder.step({
    tokens: Int32Array.from(ids),
    positions: Int32Array.from(ids, (_, at) => start + at),
    slots: new Int32Array(ids.length).fill(slot),
    outputs: Int32Array.of(ids.length - 1),
  });
  return logits;
}

/** Takes the most likely token again and again. */
async function greedy(decoder: Decoder, prompt: readonly number[], count: number): Promise<number[]> {
  const ids: number[] = [];
  let logits = await feed(decoder, prompt);
  for (;;) {
    ids.push(argmaxOf(logits));
    if (ids.length === count) return ids;
    logits = await feed(decoder, ids.slice(-1), { start: prompt.length + ids.length - 1 });
  }
}

/** Logits of every token of rows of one length, fed up to each of `ends` in turn, all rows at once. */
async function inPieces(decoder: Decoder, rows: readonly (readonly number[])[], ends: readonly number[]) {
  const found = rows.map((): number[] => []);
  let start = 0;
  for (const end of ends) {
    const pieces = rows.flatMap((row, slot) =>
      row.slice(start, end).map((id, at) => ({ id, slot, position: start + at })),
    );
    const logits = await decoder.step({
      tokens: Int32Array.from(pieces, ({ id }) => id),
      positions: Int32Array.from(pieces, ({ position }) => position),
      slots: Int32Array.from(pieces, ({ slot }) => slot),
      outputs: Int32Array.from(pieces.keys()),
    });
    for (const [at, { slot }] of pieces.entries()) found[slot]?.push(...(logits[at] ?? []));
    start = end;
  }
  return found.flat();
}

describe.each(devices)("$name", ({ make, tolerance }) => {
  describe.each(goldenNames)("%s", (name) => {
    test(
      "greedy tokens with a cache, and logits of two texts in pieces, are those of Hugging Face",
      showsOf(name, "generate"),
      async () => {
        const device = make();
        const model = await loadModel(goldenSource(name), { device });
        const golden = await goldenExpected(name);
        // Some rotary scalings depend on the length: as long as the golden text, as Hugging Face saw it.
        const decoder = createDecoder(model, { numSlots: 2, maxSeqLen: 28 });
        const [prompt = []] = rowsOf(golden["greedy.prompt"]);
        expect(await greedy(decoder, prompt, 16)).toEqual(rowsOf(golden["greedy.ids"])[0]);
        const logits = await inPieces(decoder, rowsOf(golden["basic.input_ids"]), [5, 12]);
        expect(relativeError(logits, golden["basic.logits"]?.data ?? [])).toBeLessThan(tolerance);
        decoder.dispose();
        model.dispose();
        expect(device.memory().buffers).toBe(0);
        device.dispose();
      },
    );
  });

  describe("llama", () => {
    const use = holdModel(make, async (device) => {
      const model = await loadModel(goldenSource("llama"), { device });
      const decoder = createDecoder(model, { numSlots: 3, maxRows: 8 });
      return { model, decoder, golden: await goldenExpected("llama") };
    });
    // Before the model is let go: hooks that were added last run first.
    afterAll(() => {
      const { decoder } = use();
      decoder.dispose();
      decoder.dispose(); // a second call does nothing
    });

    test("logits of every token of a prompt longer than a run are those of the whole text", async () => {
      const { decoder, golden } = use();
      const [ids = []] = rowsOf(golden["long.input_ids"]);
      const all = Int32Array.from(ids.keys());
      const logits = await decoder.step({
        tokens: Int32Array.from(ids),
        positions: all,
        slots: new Int32Array(ids.length).fill(2),
        outputs: all,
      });
      const flat = logits.flatMap((row) => Array.from(row));
      expect(relativeError(flat, golden["long.logits"]?.data ?? [])).toBeLessThan(tolerance);
    });

    test("any mixture of sequences in pieces gives what each gives alone", async () => {
      const { model, decoder } = use();
      const id = fc.integer({ min: 0, max: 71 });
      const texts = fc.array(fc.array(id, { minLength: 1, maxLength: 12 }), { minLength: 3, maxLength: 3 });
      const sizes = fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 40, maxLength: 40 });
      await fc.assert(
        fc.asyncProperty(texts, sizes, async (rows, pieceSizes) => {
          const fed = rows.map(() => 0);
          const seen: number[][][] = rows.map(() => []);
          const pieces = pieceSizes.values();
          while (fed.some((count, slot) => count < (rows[slot]?.length ?? 0))) {
            // Each step takes a piece of every text that is not through.
            const batch = rows.flatMap((row, slot) => {
              const start = fed[slot] ?? 0;
              const end = Math.min(row.length, start + (pieces.next().value ?? 1));
              fed[slot] = end;
              return row.slice(start, end).map((token, at) => ({ token, slot, position: start + at }));
            });
            const logits = await decoder.step({
              tokens: Int32Array.from(batch, ({ token }) => token),
              positions: Int32Array.from(batch, ({ position }) => position),
              slots: Int32Array.from(batch, ({ slot }) => slot),
              outputs: Int32Array.from(batch.keys()),
            });
            for (const [at, { slot }] of batch.entries()) seen[slot]?.push(Array.from(logits[at] ?? []));
          }
          for (const [slot, row] of rows.entries()) {
            const inputs = batchInputs(model, [row]);
            const whole = model.forward(inputs);
            expect(relativeError(seen[slot]?.flat() ?? [], await whole.data())).toBeLessThan(tolerance);
            disposeTree([inputs.ids, whole]);
          }
        }),
        { numRuns: 15 },
      );
    });

    test("plans are reused: steps of known sizes allocate only what they return", async () => {
      const { device, decoder } = use();
      await feed(decoder, [1, 2, 3, 4]);
      await feed(decoder, [5], { start: 4 });
      const before = device.memory();
      for (let start = 5; start < 20; start++) await feed(decoder, [start], { start });
      expect(device.memory()).toMatchObject({ buffers: before.buffers, bytes: before.bytes });
    });

    test("tokens are chosen as the sampler of the host chooses them, side by side with logits", async () => {
      const { device, decoder } = use();
      const rows = 3;
      const batch = {
        tokens: Int32Array.of(7, 40, 64),
        positions: new Int32Array(rows),
        slots: Int32Array.of(0, 1, 2),
        outputs: Int32Array.of(2, 0, 1),
      };
      const logits = await decoder.step(batch);
      const before = device.memory().buffers;
      for (const temperatures of [
        [0, 0, undefined],
        [0, 1, 0.5],
        [2, undefined, 0],
        [undefined, undefined, undefined],
      ]) {
        const seeds = [3, 4, 5];
        const samplers = temperatures.map(
          (temperature, at) =>
            temperature !== undefined && createSampler({ temperature, seed: seeds[at] ?? 0 }),
        );
        const choices = samplers.map((sampler) => {
          const { temperature = 0, draw } = (sampler || undefined)?.onDevice() ?? {};
          return sampler ? { temperature, draw: draw?.(0) ?? 0 } : undefined;
        });
        const outputs = (await decoder.choose?.(batch, choices)) ?? [];
        expect(outputs).toHaveLength(rows);
        for (const [at, output] of outputs.entries()) {
          const [sampler, row = new Float32Array(0)] = [samplers[at], logits[at]];
          if (!sampler) expect(output).toEqual(row);
          else {
            const { id, logprob } = sampler.sample(row, []);
            expect(output).toMatchObject({ id, logprob: expect.closeTo(logprob, 4) });
          }
        }
      }
      expect(device.memory().buffers - before).toBeLessThanOrEqual(4); // plans of the chooser
    });

    test("what choices must be", async () => {
      const { decoder } = use();
      const one = Int32Array.of(0);
      const batch = { tokens: one, positions: one, slots: one, outputs: one };
      const messageOf = (...choices: { temperature: number; draw?: number }[]) =>
        decoder.choose?.(batch, choices).then(String, (error: Error) => error.message);
      expect([
        await messageOf(),
        await messageOf({ temperature: 1 }),
        await messageOf({ temperature: 1, draw: 1 }),
        await messageOf({ temperature: -1, draw: 0 }),
      ]).toMatchInlineSnapshot(`
        [
          "choose: there must be a choice, or undefined, for each output; got 0 for 1 outputs. Pass one each.",
          "choose: temperature must be >= 0, with a draw in [0, 1) above 0; got temperature 1, draw undefined at output 0. Draw a number for each token.",
          "choose: temperature must be >= 0, with a draw in [0, 1) above 0; got temperature 1, draw 1 at output 0. Draw a number for each token.",
          "choose: temperature must be >= 0, with a draw in [0, 1) above 0; got temperature -1, draw 0 at output 0. Draw a number for each token.",
        ]
      `);
      expect(await decoder.choose?.({ ...batch, outputs: new Int32Array(0) }, [])).toEqual([]);
    });

    test("a step without outputs gives nothing", async () => {
      const { decoder } = use();
      const batch = { tokens: Int32Array.of(1), positions: Int32Array.of(0), slots: Int32Array.of(0) };
      expect(await decoder.step({ ...batch, outputs: new Int32Array(0) })).toEqual([]);
    });

    test("what a batch must be", async () => {
      const { decoder } = use();
      const good = {
        tokens: Int32Array.of(1),
        positions: Int32Array.of(0),
        slots: Int32Array.of(0),
        outputs: Int32Array.of(0),
      };
      const messageOf = (batch: object) =>
        decoder.step({ ...good, ...batch }).then(String, (error: Error) => error.message);
      const messages = [
        await messageOf({ tokens: Int32Array.of(72) }),
        await messageOf({ tokens: Int32Array.of(-1) }),
        await messageOf({ positions: Int32Array.of(64) }),
        await messageOf({ slots: Int32Array.of(3) }),
        await messageOf({ outputs: Int32Array.of(1) }),
        await messageOf({ positions: Int32Array.of(0, 1) }),
      ];
      expect(messages).toMatchInlineSnapshot(`
        [
          "step: each token must be below 72; got 72 at index 0. Check the batch against the decoder's sizes.",
          "step: each token must be below 72; got -1 at index 0. Check the batch against the decoder's sizes.",
          "step: each position must be below 64; got 64 at index 0. Check the batch against the decoder's sizes.",
          "step: each slot must be below 3; got 3 at index 0. Check the batch against the decoder's sizes.",
          "step: each output must be below 1; got 1 at index 0. Check the batch against the decoder's sizes.",
          "step: tokens, positions and slots must be of one length; got tokens 1, positions 2, slots 1. Pass one of each a row.",
        ]
      `);
      const both = await Promise.allSettled([decoder.step(good), decoder.step(good)]);
      expect(both.map(({ status }) => status)).toEqual(["fulfilled", "rejected"]);
      expect((await decoder.step(good)).length).toBe(1);
    });

    test("sizes must fit the model; a disposed decoder does not run", async () => {
      const { model } = use();
      expect(() => createDecoder(model, { numSlots: 0 })).toThrowErrorMatchingInlineSnapshot(
        `[HeddleError: createDecoder: numSlots must be a whole number >= 1; got 0. Pass a greater one.]`,
      );
      const gone = createDecoder(model, { numSlots: 1 });
      gone.dispose();
      await expect(feed(gone, [1])).rejects.toThrowErrorMatchingInlineSnapshot(
        `[HeddleError: step: the decoder must not have been disposed; got one that was. Make a new one.]`,
      );
    });
  });
});
