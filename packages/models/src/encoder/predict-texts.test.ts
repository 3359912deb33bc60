import { cpu, type Device, randn } from "@heddle/tensor";
import { loadTokenizer } from "@heddle/tokenizers";
import { describe, expect, test } from "vitest";
import { packedSource } from "../../test/packed-golden.js";
import { toyTokenizerJson } from "../../test/toy-tokenizer.js";
import { softmaxOf } from "../generation/sampling/scores.js";
import { type AnyModel, assemble, loadModelOf } from "../loading/load-model.js";
import { configToJson, parseModelConfig } from "../loading/parse-config.js";
import type { EncoderConfig } from "./config.js";
import { encoder } from "./encoder-architecture.js";
import { classifyTexts, classifyTokens, fillMask } from "./predict-texts.js";

const tokenizer = await loadTokenizer({ "tokenizer.json": toyTokenizerJson });

/** A model of random weights with a head of one's own. */
function randomModel(device: Device, own: object): AnyModel {
  const config = parseModelConfig({
    model_type: "bert",
    vocab_size: 40,
    hidden_size: 16,
    intermediate_size: 24,
    num_hidden_layers: 2,
    num_attention_heads: 2,
    max_position_embeddings: 20,
    pad_token_id: 0,
    ...own,
  }) as EncoderConfig;
  let seed = 0;
  const weights = encoder.buildWeights(config, (_, shape) => randn(device, shape, { seed: ++seed }));
  return assemble(encoder, { config, weights, device, tokenizer });
}

const id2label = { "0": "bad", "1": "fair", "2": "good" };

describe("classes of texts", () => {
  test("are the softmax of the logits, whatever texts stand beside them, and pairs know their parts", async () => {
    const device = cpu({ threads: 1 });
    const loaded = await loadModelOf(encoder, packedSource("bert_seqcls"), { device });
    const predictions = { ...loaded.config.predictions, labels: Object.values(id2label) };
    const model = { ...loaded, tokenizer, config: { ...loaded.config, predictions } as EncoderConfig };
    const texts = ["a cat.", ["the dog", "barks"], "no"] as const;
    const found = await classifyTexts(model, texts, { batchSize: 2 });
    for (const [at, text] of texts.entries()) {
      const [encoding] = tokenizer.encodeBatch([text]);
      const row = (values: ArrayLike<number> = []) => [Array.from(values)];
      using logits = loaded.logits({ ids: row(encoding?.ids), tokenTypeIds: row(encoding?.typeIds) });
      const wanted = softmaxOf(Float64Array.from(await logits.data()));
      const scores = found[at] ?? [];
      expect(scores.map(({ score }) => score)).toEqual(
        scores.map(({ score }) => score).toSorted((a, b) => b - a),
      );
      for (const [index, label] of Object.values(id2label).entries())
        expect(scores.find((each) => each.label === label)?.score).toBeCloseTo(
          wanted[index] ?? Number.NaN,
          5,
        );
    }
    // The second part of a pair is another part: its type tells.
    const [joined] = await classifyTexts(model, ["the dogbarks"]);
    expect(joined?.[0]?.score).not.toBeCloseTo(found[1]?.[0]?.score ?? 0, 5);
    await expect(classifyTokens(model, "a")).rejects.toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: classifyTokens: the model must classify tokens; got a bert model of classes of first. Load a checkpoint with such a head.]`,
    );
    loaded.dispose();
    expect(device.memory().buffers).toBe(0);
    device.dispose();
  });

  test("that do not exclude each other, and numbers of a regression, keep their own scores", async () => {
    const device = cpu({ threads: 1 });
    const architectures = ["BertForSequenceClassification"];
    const sums: number[] = [];
    for (const own of [
      { id2label, problem_type: "multi_label_classification" },
      { num_labels: 1 },
      { num_labels: 1, problem_type: "regression" },
    ]) {
      const model = randomModel(device, { architectures, ...own });
      expect(parseModelConfig(configToJson(model.config))).toEqual(model.config);
      const [scores = []] = await classifyTexts(model, ["a long text that does not fit into the model"]);
      sums.push(scores.reduce((sum, { score }) => sum + score, 0));
      model.dispose();
    }
    expect(sums[0]).not.toBeCloseTo(1, 3);
    const [, probability = 0, number = 0] = sums;
    expect(probability).toBeCloseTo(1 / (1 + Math.exp(-number)), 6);
    device.dispose();
  });
});

test("classes of tokens come with the places of the tokens", async () => {
  const device = cpu({ threads: 1 });
  const model = randomModel(device, { architectures: ["BertForTokenClassification"], id2label });
  const found = await classifyTokens(model, "a cat");
  expect(found.map(({ token, start, end }) => [token, start, end])).toEqual([
    ["a", 0, 1],
    [" ", 1, 2],
    ["c", 2, 3],
    ["a", 3, 4],
    ["t", 4, 5],
  ]);
  using logits = model.logits({ ids: [Array.from(tokenizer.encodeIds("a cat"))] });
  const data = Float64Array.from(await logits.data());
  for (const [at, { label, score }] of found.entries()) {
    const wanted = softmaxOf(data.slice((at + 1) * 3, (at + 2) * 3)); // behind [CLS]
    expect(score).toBeCloseTo(Math.max(...wanted), 5);
    expect(label).toBe(Object.values(id2label)[wanted.indexOf(Math.max(...wanted))]);
  }
  await expect(classifyTexts(model, ["a"])).rejects.toThrow(
    "the model must classify texts; got a bert model of classes of tokens",
  );
  model.dispose();
  device.dispose();
});

test("masks are filled by what the model predicts there", async () => {
  const device = cpu({ threads: 1 });
  const loaded = await loadModelOf(encoder, packedSource("bert"), { device });
  const model = { ...loaded, tokenizer };
  const text = "the [MASK] b[MASK]";
  const found = await fillMask(model, text, { top: 3 });
  const ids = Array.from(tokenizer.encodeIds(text));
  const places = ids.flatMap((id, at) => (id === 34 ? [at] : []));
  expect(found.map(({ start, end }) => text.slice(start, end))).toEqual(["[MASK]", "[MASK]"]);
  expect(places.length).toBe(2);
  using logits = model.logits({ ids: [ids] });
  const data = Float64Array.from(await logits.data());
  const { vocabSize } = model.config;
  for (const [mask, place] of places.entries()) {
    const wanted = softmaxOf(data.slice(place * vocabSize, (place + 1) * vocabSize));
    const best = Array.from(wanted.keys()).sort((a, b) => (wanted[b] ?? 0) - (wanted[a] ?? 0));
    expect(found[mask]?.candidates.map(({ id }) => id)).toEqual(best.slice(0, 3));
    for (const { id, probability } of found[mask]?.candidates ?? [])
      expect(probability).toBeCloseTo(wanted[id] ?? Number.NaN, 5);
  }
  await expect(fillMask(model, "the cat")).rejects.toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: fillMask: the text must hold the model's mask token, [MASK]; got "the cat". Write it where a word is missing.]`,
  );
  await expect(fillMask(loaded, text)).rejects.toThrow("fillMask: the model needs a tokenizer");
  await expect(classifyTexts(model, ["a"])).rejects.toThrow("got a bert model of tokens");
  loaded.dispose();
  device.dispose();
});
