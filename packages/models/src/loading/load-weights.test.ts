import { reference } from "@heddle/tensor";
import { expect, test } from "vitest";
import { goldenSource } from "../../test/golden-model.js";
import { loadModel } from "./load-model.js";

test("floats become the dtype that is asked for", async () => {
  const device = reference();
  const dtypes: string[] = [];
  for (const dtype of [undefined, "f32", "stored"] as const) {
    const model = await loadModel(goldenSource("llama_sharded_bf16"), {
      device,
      ...(dtype ? { dtype } : {}),
    });
    dtypes.push(model.weights.embedding.dtype);
  }
  expect(dtypes).toEqual(["f64", "f32", "bf16"]);
});

test("progress runs to the size of the weights, and loading can be given up", async () => {
  const device = reference();
  const seen: number[] = [];
  await loadModel(goldenSource("llama_sharded_bf16"), {
    device,
    onProgress: ({ loadedBytes, totalBytes }) => seen.push(loadedBytes / totalBytes),
  }).then((model) => model.dispose());
  expect(seen.length).toBe(21);
  expect(seen.at(-1)).toBe(1);
  expect(seen).toEqual(seen.toSorted((a, b) => a - b));
  const controller = new AbortController();
  const loading = loadModel(goldenSource("gpt2"), {
    device,
    signal: controller.signal,
    onProgress: () => controller.abort(new Error("enough")),
  });
  await expect(loading).rejects.toThrow("enough");
  expect(device.memory().buffers).toBe(0);
});
