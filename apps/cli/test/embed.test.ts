import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";
import { embedTexts } from "@heddle/models";
import { openAnyModel } from "@heddle/models/node";
import { cpu } from "@heddle/tensor";
import { afterAll, beforeAll, expect, test } from "vitest";
import { toyTokenizerJson } from "../../../packages/models/test/toy-tokenizer.js";
import { buildCli, type Cli } from "./cli.js";

const golden = fileURLToPath(new URL("../../../packages/models/test/golden/bert/", import.meta.url));
const place: { cli?: Cli; folder: string } = { folder: mkdtempSync(join(tmpdir(), "heddle-embed-")) };
const run = (args: readonly string[], input?: string) => {
  if (place.cli === undefined) throw new Error("the program was not built");
  return place.cli.run(args, input);
};

beforeAll(async () => {
  const { folder } = place;
  const write = (file: string, json: unknown) => writeFileSync(join(folder, file), JSON.stringify(json));
  writeFileSync(join(folder, "config.json"), readFileSync(join(golden, "config.json")));
  const weights = gunzipSync(readFileSync(join(golden, "model.safetensors.gz")));
  writeFileSync(join(folder, "model.safetensors"), weights);
  writeFileSync(join(folder, "tokenizer.json"), toyTokenizerJson);
  write("modules.json", [
    { idx: 0, name: "0", path: "", type: "sentence_transformers.models.Transformer" },
    { idx: 1, name: "1", path: "1_Pooling", type: "sentence_transformers.models.Pooling" },
  ]);
  mkdirSync(join(folder, "1_Pooling"));
  write("1_Pooling/config.json", { pooling_mode_cls_token: true });
  write("config_sentence_transformers.json", { prompts: { query: "find " } });
  place.cli = await buildCli();
});
afterAll(() => {
  place.cli?.dispose();
  rmSync(place.folder, { recursive: true });
});

const vectorsOf = (out: string): number[][] =>
  out
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line).embedding);

test("embed makes vectors as the directory says, or as options do", async () => {
  const device = cpu({ threads: 1 });
  const model = await openAnyModel(place.folder, { device });
  expect(model.sentenceModules).toMatchObject({ poolings: ["first"], isNormalized: false });
  const own = async (texts: string[], options: Parameters<typeof embedTexts>[2] = {}) =>
    (await embedTexts(model, texts, options)).map((vector) => Array.from(vector));
  const as = ["embed", "--model", place.folder, "--device", "cpu"];
  const plain = await run(as, "a cat\nno\n");
  expect({ code: plain.code, errors: plain.errors }).toEqual({ code: 0, errors: "" });
  expect(vectorsOf(plain.out)).toEqual(await own(["a cat", "no"]));
  const asked = await run([...as, "--text", "a cat", "--prompt", "query", "--pooling", "mean-sqrt"]);
  expect(vectorsOf(asked.out)).toEqual(await own(["a cat"], { prompt: "query", pooling: "mean-sqrt" }));
  const wrong = await run([...as, "--text", "a", "--prompt", "answer"]);
  expect(wrong.code).not.toBe(0);
  expect(wrong.errors).toContain("prompt must be one of the model's");
  model.dispose();
  device.dispose();
});
