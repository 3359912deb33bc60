import { memorySink, memorySource } from "@heddle/checkpoints";
import { cpu, reference } from "@heddle/tensor";
import { expect, test } from "vitest";
import { packedExpected, packedSource, rowsOf } from "../../test/packed-golden.js";
import { relativeError } from "../../test/relative-error.js";
import { showsOf } from "../../test/shows.js";
import type { EncoderConfig } from "../encoder/config.js";
import { encoder } from "../encoder/encoder-architecture.js";
import type { EncoderWeights } from "../encoder/weights.js";
import { loadModelOf } from "../loading/load-model.js";
import { loadAnyGguf, loadGguf } from "./load-gguf.js";
import { saveGguf } from "./save-gguf.js";

const golden = packedExpected("bert");
const rows = {
  ids: rowsOf(golden, "basic.input_ids"),
  attentionMask: rowsOf(golden, "basic.attention_mask"),
  tokenTypeIds: rowsOf(golden, "basic.token_type_ids"),
};

/** The golden model without its head, which such files do not hold. */
async function headless(device: ReturnType<typeof reference>) {
  const model = await loadModelOf(encoder, packedSource("bert"), { device });
  const config: EncoderConfig = { ...model.config, predictions: { kind: "none" } };
  const { predictions: _, ...weights } = model.weights;
  return { model, config, weights };
}

test.each([
  ["reference", reference, "F32", 1e-6],
  ["cpu", () => cpu({ threads: 2 }), "F32", 1e-5],
  ["cpu", () => cpu({ threads: 2 }), "F16", 2e-3],
  ["cpu", () => cpu({ threads: 2 }), "Q8_0", 0.05],
] as const)(
  "on %s a BERT written as %3$s and loaded again gives the hidden states of the golden model",
  showsOf("bert", "GGUF"),
  async (_, make, type, tolerance) => {
    const device = make();
    const { model, config, weights } = await headless(device);
    const sink = memorySink();
    await saveGguf(sink, "bert.gguf", { config, weights }, { type });
    const loaded = await loadAnyGguf(memorySource(sink.files), "bert.gguf", { device });
    expect(loaded.config).toMatchObject({
      inputs: config.inputs,
      norm: config.norm,
      predictions: { kind: "none" },
    });
    const hidden = (weights: EncoderWeights) => encoder.hidden?.({ config, weights, device }, rows);
    const [got, wanted] = [hidden(loaded.weights as EncoderWeights), hidden(model.weights)];
    expect(relativeError((await got?.data()) ?? [], (await wanted?.data()) ?? [1])).toBeLessThan(tolerance);
    for (const held of [got, wanted, model, loaded]) held?.dispose();
    expect(device.memory().buffers).toBe(0);
    device.dispose();
  },
);

test("a head is refused on writing, and an encoder where a decoder is wanted", async () => {
  const device = reference();
  const { model, config, weights } = await headless(device);
  await expect(saveGguf(memorySink(), "bert.gguf", model)).rejects.toThrow(
    'a "bert" file must hold all of the model; got what it cannot hold, the head of BertForMaskedLM: write the model with predictions of kind "none". Or save it with saveModel.',
  );
  const sink = memorySink();
  await saveGguf(sink, "bert.gguf", { config, weights });
  await expect(loadGguf(memorySource(sink.files), "bert.gguf", { device })).rejects.toThrow(
    'loadGguf: the model must be a decoder; got general.architecture "bert". Use loadAnyGguf.',
  );
  model.dispose();
  expect(device.memory().buffers).toBe(0);
});
