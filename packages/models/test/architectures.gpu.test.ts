import { type Device, disposeTree, type Tensor, tensor } from "@heddle/tensor";
import { afterAll, describe, expect, test } from "vitest";
import type { GoldenArrays } from "../../../tooling/golden/safetensors.js";
import { findDevice } from "../../gpu/test/find-device.js";
import { encoder } from "../src/encoder/encoder-architecture.js";
import { generate } from "../src/generation/generate.js";
import { type AnyModel, loadModelOf } from "../src/loading/load-model.js";
import { permutationHidden, permutationUnembed } from "../src/permutation/permutation.js";
import { permutation } from "../src/permutation/permutation-architecture.js";
import { recurrent } from "../src/recurrent/recurrent-architecture.js";
import { createRecurrentDecoder } from "../src/recurrent/recurrent-decoder.js";
import { seq2seq } from "../src/seq2seq/seq2seq-architecture.js";
import { createSeq2SeqDecoder } from "../src/seq2seq/seq2seq-decoder.js";
import { tokenGrid } from "../src/token-grid.js";
import { encoderNames, packedExpected, packedSource, rowsOf } from "./packed-golden.js";
import { permutedInputs } from "./permuted-inputs.js";
import { relativeError } from "./relative-error.js";
import { showsOf } from "./shows.js";

/** As for decoders on this device, relative to the largest logit. */
const tolerance = 1e-4;

const found = await findDevice();
afterAll(() => found.device?.dispose());

if (found.device === undefined) test.skip(`models on WebGPU: ${found.reason}`);
else describeArchitectures(found.device);

/**
 * One batch forward for each model, the rest by the calls that differ: caches, states, two streams, memories. Op by op, so that models
 * share their shaders, whose making is what takes the time; decoders run compiled.
 */
function describeArchitectures(device: Device): void {
  describe.each(encoderNames)("%s", (name) => {
    test("logits", showsOf(name, "WebGPU"), async () => {
      await withModel(device, name, () => loadModelOf(encoder, packedSource(name), { device }), expectLogits);
    });
  });

  describe.each(["mamba", "mamba2", "rwkv"])("%s", (name) => {
    const load = () => loadModelOf(recurrent, packedSource(name), { device });

    test("logits", showsOf(name, "WebGPU"), () => withModel(device, name, load, expectLogits));

    test("greedy ids from a state of fixed size", showsOf(name, "WebGPU"), () =>
      withModel(device, name, load, async (model, golden) => {
        const decoder = createRecurrentDecoder(model, { numSlots: 1 });
        const [prompt = []] = rowsOf(golden, "greedy.prompt");
        expect(await greedyIds(model, prompt, { decoder, maxTokens: 6 })).toEqual(
          rowsOf(golden, "greedy.ids")[0]?.slice(0, 6),
        );
        decoder.dispose();
      }),
    );
  });

  describe.each(["t5", "t5_gated", "bart", "whisper"])("%s", (name) => {
    const load = () => loadModelOf(seq2seq, packedSource(name), { device });
    const sourceOf = (golden: GoldenArrays, kind: string) => {
      const frames = golden.has(`${kind}.input_features`);
      const { shape, data } = golden.get(`${kind}.${frames ? "input_features" : "input_ids"}`);
      return tensor(device, frames ? Float32Array.from(data) : Int32Array.from(data), { shape });
    };

    test("logits", showsOf(name, "WebGPU"), () =>
      withModel(device, name, load, async (model, golden) => {
        const kind = golden.has("long.logits") ? "long" : "basic";
        const source = sourceOf(golden, kind);
        const ids = tokenGrid(device, rowsOf(golden, `${kind}.decoder_input_ids`));
        using logits = model.forward({ source, ids });
        const expected = golden.get(`${kind}.logits`);
        expect(relativeError(await logits.data(), expected.data)).toBeLessThan(tolerance);
        disposeTree([source, ids]);
      }),
    );

    test("greedy ids from a cache", showsOf(name, "WebGPU"), () =>
      withModel(device, name, load, async (model, golden) => {
        const source = sourceOf(golden, "greedy");
        const decoder = createSeq2SeqDecoder(model, { source: { source }, maxSeqLen: 8 });
        const from = [model.config.startId];
        expect(await greedyIds(model, from, { decoder, maxTokens: 6 })).toEqual(
          rowsOf(golden, "greedy.ids")[0]?.slice(0, 6),
        );
        decoder.dispose();
        source.dispose();
      }),
    );
  });

  test(
    "xlnet: two streams in an order of factorisation, and memories",
    showsOf("xlnet", "WebGPU"),
    async () => {
      const load = () => loadModelOf(permutation, packedSource("xlnet"), { device });
      await withModel(device, "xlnet", load, async (model, golden) => {
        const grid = (name: string) => tokenGrid(device, rowsOf(golden, name));
        const expectLast = async (last: Tensor, name: string) => {
          using logits = permutationUnembed(model.weights, last);
          expect(relativeError(await logits.data(), golden.get(name).data), name).toBeLessThan(tolerance);
        };
        const permuted = permutedInputs(device, golden);
        const segments = [grid("mems.segment1"), grid("mems.segment2")] as const;
        const perm = permutationHidden(model.config, model.weights, permuted);
        const first = permutationHidden(model.config, model.weights, { ids: segments[0] });
        const { memories } = first;
        const second = permutationHidden(model.config, model.weights, { ids: segments[1], memories });
        await expectLast(perm.last, "perm.logits");
        await expectLast(first.last, "mems.logits1");
        await expectLast(second.last, "mems.logits2");
        disposeTree([permuted, segments, perm, first, second]);
      });
    },
  );
}

/** Loads a model for one test; the device ends with the buffers that it began with. */
async function withModel<Model extends { dispose(): void }>(
  device: Device,
  name: string,
  load: () => Promise<Model>,
  check: (model: Model, golden: GoldenArrays) => Promise<void>,
): Promise<void> {
  const before = device.memory().buffers;
  const model = await load();
  await check(model, packedExpected(name));
  model.dispose();
  expect(device.memory().buffers).toBe(before);
}

/** Logits of the golden batch with padding, where a model has one, at every token. */
async function expectLogits(model: Pick<AnyModel, "logits">, golden: GoldenArrays): Promise<void> {
  const kind = golden.has("padded.logits") ? "padded" : "basic";
  const rows = (name: string) =>
    golden.has(`${kind}.${name}`) ? rowsOf(golden, `${kind}.${name}`) : undefined;
  const [mask, types] = [rows("attention_mask"), rows("token_type_ids")];
  using logits = model.logits({
    ids: rows("input_ids") ?? [],
    ...(mask && { attentionMask: mask }),
    ...(types && { tokenTypeIds: types }),
  });
  const { shape, data } = golden.get(`${kind}.logits`);
  expect(logits.shape).toEqual(shape);
  const counts = (at: number) => shape.length < 3 || mask?.flat()[Math.floor(at / (shape[2] ?? 1))] !== 0;
  expect(relativeError(await logits.data(), data, counts)).toBeLessThan(tolerance);
}

async function greedyIds(
  model: Parameters<typeof generate>[0],
  prompt: readonly number[],
  options: Pick<NonNullable<Parameters<typeof generate>[2]>, "decoder" | "maxTokens">,
): Promise<number[]> {
  const ids: number[] = [];
  for await (const { id } of generate(model, prompt, { ...options, temperature: 0, ignoreEos: true }))
    ids.push(id);
  return ids;
}
