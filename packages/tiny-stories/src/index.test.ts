import { readdirSync, statSync } from "node:fs";
import { expect, test } from "vitest";
import { modelFiles } from "./index.js";

const folder = new URL("../model/", import.meta.url);

test("the model is there, complete, and small enough to publish", () => {
  expect(readdirSync(folder).sort()).toEqual([...modelFiles].sort());
  expect(statSync(new URL("model.safetensors", folder)).size).toBeLessThanOrEqual(16 * 2 ** 20);
});
