import {
  loadTensors,
  memorySink,
  memorySource,
  openSafetensors,
  readFile,
  readJson,
  saveTensors,
} from "@heddle/checkpoints";
import { disposeTree, HeddleError, reference } from "@heddle/tensor";
import { describe, expect, test } from "vitest";
import { packedNames, packedSource } from "../../test/packed-golden.js";
import { showsOf } from "../../test/shows.js";
import { loadAnyModel } from "./load-model.js";
import { parseModelConfig } from "./parse-config.js";
import { saveModel } from "./save-model.js";

describe.each(packedNames)("%s", (name) => {
  test(
    "a model saved is the file that Hugging Face wrote, byte for byte, and loads as the same",
    showsOf(name, "load, save"),
    async () => {
      const device = reference();
      const source = packedSource(name);
      const model = await loadAnyModel(source, { device, dtype: "stored" });
      const sink = memorySink();
      await saveModel(sink, model);
      const file = "model.safetensors";
      const original = await source.read(file, 0, await source.size(file));
      expect(Buffer.from(sink.files[file] ?? []).equals(Buffer.from(original))).toBe(true);
      const again = await loadAnyModel(memorySource(sink.files), { device, dtype: "stored" });
      expect(again.config).toEqual(model.config);
      again.dispose();
      model.dispose();
      expect(device.memory().buffers).toBe(0);
    },
  );

  test("an older config.json reads as the current one", async () => {
    const source = packedSource(name);
    if (!source.list().includes("config.legacy.json")) return; // most families have one form only
    const [current, older] = await Promise.all(
      ["config.json", "config.legacy.json"].map((file) => readJson(source, file)),
    );
    expect(parseModelConfig(older)).toEqual(parseModelConfig(current));
  });

  test("every key of config.json spoilt gives an error that names it, or changes nothing that is computed", async () => {
    const json = (await readJson(packedSource(name), "config.json")) as Record<string, unknown>;
    for (const key of Object.keys(json)) {
      for (const value of ["nonsense", -3.5, [], {}]) {
        try {
          parseModelConfig({ ...json, [key]: value });
        } catch (error) {
          expect(error).toBeInstanceOf(HeddleError);
          if (key !== "model_type") expect(String(error), `${key} = ${value}`).toContain(key);
        }
      }
    }
  });
});

test("BERT is read with the names of norms that its first release had, and without its prefix", async () => {
  const device = reference();
  const source = packedSource("bert");
  const tensors = await loadTensors(await openSafetensors(source), { device });
  const early = Object.fromEntries(
    Object.entries(tensors).map(([name, x]) => [
      name
        .replace(/^bert\./, "")
        .replace("LayerNorm.weight", "LayerNorm.gamma")
        .replace("LayerNorm.bias", "LayerNorm.beta"),
      x,
    ]),
  );
  const sink = memorySink();
  await saveTensors(sink, early);
  const config = await readFile(source, "config.json");
  const model = await loadAnyModel(memorySource({ ...sink.files, "config.json": config }), { device });
  using logits = model.logits({ ids: [[5, 6, 7]] });
  const original = await loadAnyModel(source, { device });
  using expected = original.logits({ ids: [[5, 6, 7]] });
  expect(await logits.data()).toEqual(await expected.data());
  disposeTree(tensors);
  original.dispose();
  model.dispose();
});

test("a config.json with Python's bare word Infinity is read", async () => {
  const source = packedSource("mamba2");
  const text = new TextDecoder().decode(await readFile(source, "config.json"));
  const bare = text.replace(/\{\s*"__float__": "Infinity"\s*\}/, "Infinity");
  expect(bare).not.toBe(text);
  const read = await readJson(memorySource({ "config.json": new TextEncoder().encode(bare) }), "config.json");
  expect(parseModelConfig(read)).toEqual(parseModelConfig(JSON.parse(text)));
});
