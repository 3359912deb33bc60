import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { directorySink } from "@heddle/checkpoints/node";
import { calibrate, type GgufWeightType, generate, type LoadedModel, saveGguf } from "@heddle/models";
import { openModel } from "@heddle/models/node";
import { cpu } from "@heddle/tensor";
import { perplexity } from "@heddle/train";
import { afterAll, describe, expect, test } from "vitest";

const data = process.env.HEDDLE_DATA ?? "";
const folder = mkdtempSync(join(tmpdir(), "heddle-gguf-"));
const device = cpu();
afterAll(() => {
  rmSync(folder, { recursive: true });
  device.dispose();
});

const text = readFileSync(`${data}/text/tinystories/cs336_sample.txt`, "utf8")
  .replaceAll("<|endoftext|>", "")
  .slice(0, 6000);

const models = {
  "tiny-stories": fileURLToPath(new URL("../../../packages/tiny-stories/model", import.meta.url)),
  stories260K: `${data}/models/stories260K/hf`,
};

async function measure(model: LoadedModel) {
  const ids = [...(model.tokenizer?.encodeIds(text) ?? [])];
  const options = { device, window: 128, stride: 64, rows: 4 };
  const result = await perplexity((batch) => model.forward({ ids: batch }), ids, options);
  let story = "";
  for await (const token of generate(model, "Once upon a time", { temperature: 0, maxTokens: 60 })) {
    story += token.text;
  }
  return { perplexity: result.perplexity, story };
}

/** Another text than the one that is measured. */
const calibrationText = readFileSync(`${data}/text/tinystories/v2_train_head_2MiB.txt`, "utf8")
  .replaceAll("<|endoftext|>", "")
  .slice(0, 60_000);

async function through(path: string, type: GgufWeightType, { isCalibrated = false } = {}) {
  const model = await openModel(path, { device });
  const { tokenizer } = model;
  const ids = (isCalibrated && tokenizer?.encodeIds(calibrationText).slice(0, 16_384)) || [];
  await saveGguf(directorySink(folder), "m.gguf", model, {
    type,
    ...(tokenizer ? { tokenizer } : {}),
    ...(isCalibrated ? { calibration: await calibrate(model, ids, { device, window: 128 }) } : {}),
  });
  model.dispose();
  const again = await openModel(join(folder, "m.gguf"), { device });
  const result = await measure(again);
  again.dispose();
  expect(device.memory().buffers).toBe(0);
  return result;
}

describe.each(Object.entries(models))("%s as GGUF", (_, path) => {
  test("eight bits cost less than 1 % of perplexity, four bits less than 6 %", {
    timeout: 300_000,
  }, async () => {
    const whole = await through(path, "F32");
    const rise = async (type: GgufWeightType, options = {}) => {
      const { perplexity: value, story } = await through(path, type, options);
      // A coherent story is about the girl that the model's stories begin with.
      expect(story).toContain("there was a little girl named Lily. She loved to play outside");
      return value / whole.perplexity - 1;
    };
    expect(await rise("Q8_0")).toBeLessThan(0.01);
    expect(await rise("Q4_K")).toBeLessThan(0.06);
    // With rows of 64, the smaller model is at the edge of what Q4_0 can hold if it is rounded as ggml does.
    expect(await rise("Q4_0")).toBeLessThan(path.includes("stories260K") ? 0.08 : 0.06);
    expect(await rise("Q4_0", { isCalibrated: true })).toBeLessThan(0.06);
  });
});
