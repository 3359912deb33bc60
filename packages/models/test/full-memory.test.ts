import { cpu, type Device, HeddleError } from "@heddle/tensor";
import { expect, test } from "vitest";
import { createDecoder } from "../src/decoder/create-decoder.js";
import type { Decoder } from "../src/decoder/decoder-interface.js";
import { loadModel, loadModelOf } from "../src/loading/load-model.js";
import { recurrent } from "../src/recurrent/recurrent-architecture.js";
import { createRecurrentDecoder } from "../src/recurrent/recurrent-decoder.js";
import { seq2seq } from "../src/seq2seq/seq2seq-architecture.js";
import { createSeq2SeqDecoder } from "../src/seq2seq/seq2seq-decoder.js";
import { tokenGrid } from "../src/token-grid.js";
import { goldenSource } from "./golden-model.js";
import { packedSource } from "./packed-golden.js";

interface Makers {
  make(numSlots: number): Decoder;
  dispose(): void;
}

/** How a decoder of any number of slots is made, by the name of a golden model. */
const makers: Readonly<Record<string, (device: Device) => Promise<Makers>>> = {
  async llama(device) {
    const model = await loadModel(goldenSource("llama"), { device });
    return { make: (numSlots) => createDecoder(model, { numSlots }), dispose: model.dispose };
  },
  async deepseek_v3(device) {
    const model = await loadModel(goldenSource("deepseek_v3"), { device });
    return { make: (numSlots) => createDecoder(model, { numSlots }), dispose: model.dispose };
  },
  async mamba(device) {
    const model = await loadModelOf(recurrent, packedSource("mamba"), { device });
    return { make: (numSlots) => createRecurrentDecoder(model, { numSlots }), dispose: model.dispose };
  },
  async t5(device) {
    const model = await loadModelOf(seq2seq, packedSource("t5"), { device });
    const source = tokenGrid(device, [[5, 9, 3]]);
    return {
      make: (numSlots) => createSeq2SeqDecoder(model, { source: { source }, numSlots }),
      dispose() {
        source.dispose();
        model.dispose();
      },
    };
  },
};

test.each(Object.entries(makers))(
  "%s: a decoder that does not fit into memory leaves nothing of itself there",
  async (_, open) => {
    const device = cpu({ threads: 1, maxBytes: 2 ** 23 });
    const { make, dispose } = await open(device);
    const before = device.memory().buffers;
    let failed: unknown;
    // The first number of slots that is too great: parts of the decoder still fit.
    for (let numSlots = 1; failed === undefined; numSlots *= 2) {
      try {
        make(numSlots).dispose();
      } catch (error) {
        failed = error;
      }
      expect(device.memory().buffers).toBe(before);
    }
    expect(HeddleError.is(failed) && failed.code).toBe("capacity");
    make(1).dispose();
    dispose();
    expect(device.memory().buffers).toBe(0);
    device.dispose();
  },
);

test("so does one whose configuration proves to be impossible", async () => {
  const device = cpu({ threads: 1 });
  const model = await loadModelOf(seq2seq, packedSource("t5"), { device });
  using source = tokenGrid(device, [[5, 9, 3]]);
  const before = device.memory().buffers;
  const positions = { kind: "buckets", numBuckets: 8, maxDistance: 3 } as const;
  const damaged = { ...model, config: { ...model.config, positions } };
  expect(() => createSeq2SeqDecoder(damaged, { source: { source } })).toThrow("maxDistance must exceed");
  expect(device.memory().buffers).toBe(before);
  model.dispose();
});
