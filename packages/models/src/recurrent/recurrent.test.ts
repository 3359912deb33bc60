import { compile, disposeTree, randn, reference, type Tensor } from "@heddle/tensor";
import { describe, expect, test } from "vitest";
import { devices } from "../../test/devices.js";
import { holdModel } from "../../test/held-model.js";
import { packedExpected, packedSource, rowsOf } from "../../test/packed-golden.js";
import { relativeError } from "../../test/relative-error.js";
import { showsOf } from "../../test/shows.js";
import { generate } from "../generation/generate.js";
import { loadModelOf } from "../loading/load-model.js";
import { tokenGrid } from "../token-grid.js";
import type { RecurrentConfig } from "./config.js";
import { type RecurrentWeights, recurrentHidden, recurrentLogits } from "./recurrent.js";
import { recurrent } from "./recurrent-architecture.js";
import { createRecurrentDecoder, piecesOf } from "./recurrent-decoder.js";

describe.each(devices)("$name", ({ make, tolerance }) => {
  describe.each(["mamba", "mamba2", "rwkv"])("%s", (name) => {
    const golden = packedExpected(name);
    const use = holdModel(make, async (device) => ({
      model: await loadModelOf(recurrent, packedSource(name), { device }),
    }));

    test.each(["basic", "padded", "long"])("%s logits", showsOf(name, "forward"), async (kind) => {
      const { model } = use();
      const mask = golden.has(`${kind}.attention_mask`)
        ? rowsOf(golden, `${kind}.attention_mask`)
        : undefined;
      using logits = model.logits({
        ids: rowsOf(golden, `${kind}.input_ids`),
        ...(mask === undefined ? {} : { attentionMask: mask }),
      });
      const expected = golden.get(`${kind}.logits`);
      expect(logits.shape).toEqual(expected.shape);
      const counts = (at: number) => mask?.flat()[Math.floor(at / model.config.vocabSize)] !== 0;
      expect(relativeError(await logits.data(), expected.data, counts)).toBeLessThan(tolerance);
    });

    test("compiled", async () => {
      const { model, device } = use();
      const run = compile((weights: RecurrentWeights, ids: Tensor) =>
        recurrentLogits(model.config, weights, { ids }),
      );
      const rows = rowsOf(golden, "long.input_ids");
      using other = tokenGrid(
        device,
        rows.map((row) => row.toReversed()),
      );
      run(model.weights, other).dispose();
      using ids = tokenGrid(device, rows);
      using logits = run(model.weights, ids);
      expect(relativeError(await logits.data(), golden.get("long.logits").data)).toBeLessThan(tolerance);
      run.dispose();
    });

    test("hidden states of each layer", async () => {
      const { model, device } = use();
      using ids = tokenGrid(device, rowsOf(golden, "basic.input_ids").slice(0, 1));
      const { layers, last, state } = recurrentHidden(model.config, model.weights, { ids, keepLayers: true });
      const expected = golden.get("basic.hidden_states");
      const states = [...layers.slice(1), last]; // as transformers collects them here
      expect(states.length).toBe(expected.shape[0]);
      const size = expected.data.length / states.length;
      for (const [at, hidden] of states.entries()) {
        const wanted = expected.data.subarray(at * size, (at + 1) * size);
        expect(relativeError(await hidden.data(), wanted)).toBeLessThan(tolerance);
      }
      disposeTree([layers, last, state]);
    });

    test("greedy ids, token by token from a state of fixed size", showsOf(name, "generate"), async () => {
      const { model, device } = use();
      const [prompt = []] = rowsOf(golden, "greedy.prompt");
      const decoder = createRecurrentDecoder(model, { numSlots: 2 });
      const bytes: number[] = [];
      for (const maxTokens of [16, 16, 100]) {
        const ids: number[] = [];
        const options = { decoder, maxTokens, temperature: 0, ignoreEos: true };
        for await (const { id } of generate(model, prompt, options)) ids.push(id);
        expect(ids.slice(0, 16)).toEqual(rowsOf(golden, "greedy.ids")[0]);
        bytes.push(device.memory().bytes);
      }
      expect(new Set(bytes).size).toBe(1);
      decoder.dispose();
    });

    test("a slot that is copied goes on as its source", async () => {
      const { model } = use();
      const decoder = createRecurrentDecoder(model, { numSlots: 3 });
      const [text = []] = rowsOf(golden, "basic.input_ids");
      const feed = (ids: readonly number[], from: number, slot: number) =>
        decoder.step({
          tokens: Int32Array.from(ids),
          positions: Int32Array.from(ids, (_, at) => from + at),
          slots: new Int32Array(ids.length).fill(slot),
          outputs: Int32Array.of(ids.length - 1),
        });
      await feed(text.slice(0, 11), 0, 0);
      await feed([1, 2], 0, 1);
      decoder.reorderSlots(Int32Array.of(1, 0, 0));
      const width = model.config.vocabSize;
      const expected = golden.get("basic.logits").data.subarray(11 * width, 12 * width);
      for (const slot of [1, 2]) {
        const [logits = new Float32Array(0)] = await feed(text.slice(11), 11, slot);
        expect(relativeError(logits, expected)).toBeLessThan(2 * tolerance);
      }
      decoder.dispose();
    });

    test("texts that share a decoder do not disturb each other", async () => {
      const { model } = use();
      const decoder = createRecurrentDecoder(model, { numSlots: 2, maxPiece: 4 });
      const texts = rowsOf(golden, "basic.input_ids");
      const expected = golden.get("basic.logits");
      const width = model.config.vocabSize;
      // The second text starts later; both then go on together.
      const batches = [
        { rows: [[0, 0, 7]] },
        {
          rows: [
            [0, 7, 8],
            [1, 0, 3],
          ],
        },
        ...[8, 9, 10, 11].map((at) => ({
          rows: [
            [0, at, at + 1],
            [1, at - 5, at - 4],
          ],
        })),
      ];
      for (const { rows } of batches) {
        const places = rows.flatMap(([slot = 0, from = 0, to = 0]) =>
          Array.from({ length: to - from }, (_, t) => ({ slot, at: from + t })),
        );
        const logits = await decoder.step({
          tokens: Int32Array.from(places, ({ slot, at }) => texts[slot]?.[at] ?? 0),
          positions: Int32Array.from(places, ({ at }) => at),
          slots: Int32Array.from(places, ({ slot }) => slot),
          outputs: Int32Array.from(places.keys()),
        });
        for (const [row, { slot, at }] of places.entries()) {
          const start = (slot * 12 + at) * width;
          const wanted = expected.data.subarray(start, start + width);
          expect(relativeError(logits[row] ?? [], wanted)).toBeLessThan(2 * tolerance);
        }
      }
      decoder.dispose();
    });
  });
});

test("pieces are powers of two, and single tokens go together", () => {
  const slots = [0, 0, 0, 0, 0, 0, 0, 1, 2, 2];
  expect(piecesOf(slots, 4)).toEqual([
    { slots: [0], rows: [[0, 1, 2, 3]] },
    { slots: [0], rows: [[4, 5]] },
    { slots: [2], rows: [[8, 9]] },
    { slots: [0, 1], rows: [[6], [7]] },
  ]);
});

test("Mamba takes padding on the left; RWKV says that it cannot", async () => {
  for (const name of ["mamba", "mamba2", "rwkv"]) {
    const device = reference();
    const model = await loadModelOf(recurrent, packedSource(name), { device });
    const golden = packedExpected(name);
    const [ids = []] = rowsOf(golden, "basic.input_ids");
    const padded = { ids: [[5, 5, 5, ...ids]], attentionMask: [[0, 0, 0, ...ids.map(() => 1)]] };
    if (name === "rwkv") {
      expect(() => model.logits(padded)).toThrow(/padding must stand on the right for a rwkv model/);
    } else {
      using logits = model.logits(padded);
      using tokens = logits.narrow(1, 3, 3 + ids.length);
      const wanted = golden.get("basic.logits").data.subarray(0, tokens.size);
      expect(relativeError(await tokens.data(), wanted)).toBeLessThan(1e-6);
    }
    model.dispose();
    expect(device.memory().buffers).toBe(0);
  }
});

describe("RetNet", () => {
  const config: RecurrentConfig = {
    family: "retnet",
    vocabSize: 40,
    maxSeqLen: 64,
    modelDim: 16,
    numLayers: 2,
    norm: { kind: "rms", eps: 1e-6 },
    mixer: { kind: "retention", numHeads: 2, valueDim: 16, ffnDim: 32, activation: "gelu" },
    tieEmbeddings: true,
    initializerRange: 0.02,
    tokens: { eos: [] },
  };

  test("parallel, chunked and recurrent forms agree, and so does a decoder", async () => {
    const device = reference();
    let seed = 0;
    const weights = recurrent.buildWeights(config, (_, shape) => randn(device, shape, { seed: ++seed }));
    const rows = [[3, 1, 4, 1, 5, 9, 2, 6, 5, 35, 8]];
    using ids = tokenGrid(device, rows);
    using parallel = recurrentLogits(config, weights, { ids });
    const expected = await parallel.data();
    for (const chunk of [1, 3, 4]) {
      using logits = recurrentLogits(config, weights, { ids, chunk });
      expect(relativeError(await logits.data(), expected)).toBeLessThan(1e-12);
    }
    const decoder = createRecurrentDecoder({ config, weights, device }, { numSlots: 1 });
    const length = rows[0]?.length ?? 0;
    const places = Int32Array.from({ length }, (_, at) => at);
    const logits = await decoder.step({
      tokens: Int32Array.from(rows[0] ?? []),
      positions: places,
      slots: new Int32Array(length),
      outputs: places,
    });
    const joined = logits.flatMap((row) => [...row]);
    expect(relativeError(joined, expected)).toBeLessThan(1e-6); // read back as f32
    decoder.dispose();
    disposeTree(weights);
  });
});
