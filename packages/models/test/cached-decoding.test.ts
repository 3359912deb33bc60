import type { FileSource } from "@heddle/checkpoints";
import { cpu } from "@heddle/tensor";
import { expect, test } from "vitest";
import { findFamily } from "../src/families/registry.js";
import { startDecoder } from "../src/generation/generate.js";
import { loadAnyModel } from "../src/loading/load-model.js";
import { goldenNames, goldenSource } from "./golden-model.js";
import { packedSource } from "./packed-golden.js";
import { relativeError } from "./relative-error.js";

/** Every golden model that generates from tokens, whatever its architecture. */
const sources: readonly (readonly [string, () => FileSource])[] = [
  ...goldenNames.map((name) => [name, () => goldenSource(name)] as const),
  ...["mamba", "mamba2", "rwkv", "t5", "t5_gated", "bart"].map(
    (name) => [name, () => packedSource(name)] as const,
  ),
];

/** Two texts, of which the second goes on where the first ends. */
const texts = [
  [5, 9, 3, 17, 11, 2, 8, 30, 6, 21, 4, 13],
  [7, 7, 25, 1, 19, 12, 40, 9, 3, 22, 10, 5],
] as const;
const length = texts[0].length;
/** Tokens fed at first, as a prompt. */
const promptLength = 5;

/** What an encoder-decoder answers. */
const question = [14, 8, 3, 26];

interface Row {
  readonly slot: number;
  readonly id: number;
  readonly position: number;
}

test.each(sources)(
  "%s: cached steps are the whole, alone and together, and make nothing new",
  async (_, source) => {
    const device = cpu({ threads: 1 });
    const model = await loadAnyModel(source(), { device });
    const isSeq2Seq = findFamily(model.family).architecture.name === "encoder-decoder";
    /** Logits of texts computed whole, row after row. */
    const whole = async (rows: readonly (readonly number[])[]) => {
      using logits = model.logits(
        isSeq2Seq ? { ids: rows.map(() => question), decoderIds: rows } : { ids: rows },
      );
      return Array.from(await logits.data());
    };
    const started = async (numSlots: number) =>
      startDecoder(model, Int32Array.from(isSeq2Seq ? question : texts[0].slice(0, 1)), {
        maxTokens: isSeq2Seq ? length : length - 1,
        numSlots,
      });
    const expected = await whole(texts);
    const separate = (await Promise.all(texts.map((text) => whole([text])))).flat();
    expect(relativeError(separate, expected), "a batch of two, whole").toBeLessThan(1e-5);

    const tolerance = 1e-4; // as the golden tests of this device
    const width = model.config.vocabSize;
    const { decoder } = await started(2);
    const found: number[][] = texts.map(() => []);
    const feed = async (slots: readonly number[], from: number, to: number) => {
      const rows = slots.flatMap((slot) =>
        (texts[slot] ?? []).slice(from, to).map((id, at): Row => ({ slot, id, position: from + at })),
      );
      const logits = await decoder.step({
        tokens: Int32Array.from(rows, ({ id }) => id),
        positions: Int32Array.from(rows, ({ position }) => position),
        slots: Int32Array.from(rows, ({ slot }) => slot),
        outputs: Int32Array.from(rows.keys()),
      });
      for (const [at, { slot, position }] of rows.entries()) {
        for (const [i, value] of (logits[at] ?? []).entries())
          (found[slot] ?? [])[position * width + i] = value;
      }
    };
    await feed([0, 1], 0, promptLength);
    await feed([0, 1], promptLength, promptLength + 1);
    const before = device.memory();
    for (let at = promptLength + 1; at < length; at++) await feed([0, 1], at, at + 1);
    expect(device.memory(), "plans of known sizes serve every step").toMatchObject({
      buffers: before.buffers,
      bytes: before.bytes,
    });
    const together = found.flat();
    expect(relativeError(together, expected), "two texts in a cache").toBeLessThan(tolerance);

    // The same slots again, one text after the other: nothing of what was there remains.
    for (const slot of [1, 0]) {
      await feed([slot], 0, promptLength);
      for (let at = promptLength; at < length; at++) await feed([slot], at, at + 1);
    }
    expect(relativeError(found.flat(), together), "a text alone").toBeLessThan(1e-5);
    decoder.dispose();
    model.dispose();
    expect(device.memory().buffers).toBe(0);
    device.dispose();
  },
);
