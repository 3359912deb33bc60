import { memorySink, memorySource, readJson } from "@heddle/checkpoints";
import { HeddleError, reference } from "@heddle/tensor";
import { describe, expect, test } from "vitest";
import { packedNames, packedSource } from "../test/packed-golden.js";
import { loadAnyModel } from "./load-model.js";
import { parseModelConfig } from "./parse-config.js";
import { saveModel } from "./save-model.js";

describe.each(packedNames)("%s", (name) => {
  test("a model saved is the file that Hugging Face wrote, byte for byte, and loads as the same", async () => {
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
  });

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
