// Golden models through the program, as processes; every one of them in golden-models.data.test.ts.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { gunzipSync } from "node:zlib";
import { openSafetensors, saveTensors } from "@heddle/checkpoints";
import { directorySink, directorySource } from "@heddle/checkpoints/node";
import { loadAnyModel } from "@heddle/models";
import { reference, tensor } from "@heddle/tensor";
import { afterAll, beforeAll, expect, test } from "vitest";
import { madeConfigs, madeFiles } from "../../../packages/models/test/made-model.js";
import { readGoldenArrays } from "../../../tooling/golden/safetensors.js";
import { buildCli, type Cli } from "./cli.js";

const goldens = fileURLToPath(new URL("../../../packages/models/test/golden/", import.meta.url));
const place: { cli?: Cli; directory: string } = { directory: "" };
const run = (args: readonly string[]) => {
  if (place.cli === undefined) throw new Error("the program was not built");
  return place.cli.run(args);
};
const path = (...parts: string[]) => join(place.directory, ...parts);

/** A golden model that lies packed, as a directory, and what Hugging Face computed with it. */
function unpack(family: string) {
  const model = path(`golden-${family}`);
  mkdirSync(model, { recursive: true });
  writeFileSync(join(model, "config.json"), readFileSync(join(goldens, family, "config.json")));
  const weights = gunzipSync(readFileSync(join(goldens, family, "model.safetensors.gz")));
  writeFileSync(join(model, "model.safetensors"), weights);
  const expected = join(goldens, family, "expected.safetensors.gz");
  return { model, golden: readGoldenArrays(pathToFileURL(expected)) };
}

beforeAll(async () => {
  place.directory = mkdtempSync(join(tmpdir(), "heddle-cli-"));
  place.cli = await buildCli();
});
afterAll(() => {
  place.cli?.dispose();
  rmSync(place.directory, { recursive: true, force: true });
});

test.each([
  ["llama", "cpu", 1e-4],
  ["gpt2", "cpu", 1e-4],
  ["llama", "reference", 1e-6],
  ["gpt2", "reference", 1e-6],
])("logits of %s on %s are the golden ones", async (family, device, tolerance) => {
  const files = await openSafetensors(directorySource(join(goldens, family)), { base: "expected" });
  const read = async (name: string, type: "i32" | "f32") => {
    const { buffer, byteOffset, byteLength } = await files.read(name);
    const bytes = buffer.slice(byteOffset, byteOffset + byteLength);
    return type === "i32" ? new Int32Array(bytes) : new Float32Array(bytes);
  };
  const rowsOf = (flat: ArrayLike<number>, width: number) =>
    Array.from({ length: flat.length / width }, (_, row) =>
      Array.from({ length: width }, (__, at) => flat[row * width + at] ?? 0),
    );
  const width = files.tensors.get("padded.input_ids")?.shape[1] ?? 0;
  const ids = rowsOf(await read("padded.input_ids", "i32"), width);
  const mask = rowsOf(await read("padded.attention_mask", "i32"), width);
  const wanted = await read("padded.logits", "f32");
  const model = ["--model", join(goldens, family), "--device", device];
  const { code, out, errors } = await run([
    "logits",
    ...model,
    "--ids",
    JSON.stringify(ids),
    "--attention-mask",
    JSON.stringify(mask),
  ]);
  expect({ code, errors }).toEqual({ code: 0, errors: "" });
  const { shape, logits } = JSON.parse(out) as { shape: number[]; logits: number[][][] };
  expect(shape).toEqual(files.tensors.get("padded.logits")?.shape);
  const largest = Math.max(...Array.from(wanted, Math.abs));
  const kept = mask.flat();
  const vocabSize = shape[2] ?? 1;
  for (const [at, value] of logits.flat(2).entries()) {
    // The goldens hold zeros where the mask is 0.
    if (kept[Math.floor(at / vocabSize)] === 0) continue;
    expect(Math.abs(value - (wanted[at] ?? Number.NaN))).toBeLessThanOrEqual(tolerance * largest);
  }
});

test.each([
  ["t5", ["decoder_input_ids", "decoder_attention_mask"]],
  ["bert_seqcls", ["token_type_ids"]],
  ["deberta_v2", []],
  ["mamba", []],
])("logits of %s: rows of every architecture", async (family, names) => {
  const { golden, model } = unpack(family);
  const option = (name: string) => {
    const { shape, data } = golden.get(`basic.${name}`);
    const width = shape[1] ?? 1;
    const rows = Array.from({ length: shape[0] ?? 1 }, (_, row) => [
      ...data.subarray(row * width, (row + 1) * width),
    ]);
    return [`--${name.replace("input_ids", "ids").replaceAll("_", "-")}`, JSON.stringify(rows)];
  };
  const { code, out, errors } = await run([
    "logits",
    "--model",
    model,
    ...["input_ids", ...names].flatMap(option),
  ]);
  expect({ code, errors }).toEqual({ code: 0, errors: "" });
  const { shape, logits } = JSON.parse(out) as { shape: number[]; logits: number[][] };
  const expected = golden.get("basic.logits");
  expect(shape).toEqual(expected.shape);
  for (const [at, value] of (logits.flat(2) as number[]).entries())
    expect(Math.abs(value - (expected.data[at] ?? Number.NaN))).toBeLessThan(2e-4);
});

test("sound goes in through a file, and ids come out of a model without a tokenizer", async () => {
  const { model, golden } = unpack("whisper");
  const device = reference();
  const { shape, data } = golden.get("greedy.input_features");
  const features = tensor(device, Float32Array.from(data), { shape });
  await saveTensors(directorySink(path()), { input_features: features }, { base: "sound" });
  device.dispose();
  const args = ["generate", "--model", model, "--inputs", path("sound.safetensors"), "--max-tokens", "16"];
  const greedy = [...args, "--temperature", "0", "--ignore-eos"];
  const { code, out, errors } = await run(greedy);
  const ids = [...golden.get("greedy.ids").data];
  expect({ code, out, errors }).toEqual({ code: 0, out: `${ids.join(" ")}\n`, errors: "" });
  // The decoder may begin with more than its start token.
  const begun = JSON.stringify([[1, ...ids.slice(0, 2)]]);
  const { ids: rest } = JSON.parse((await run([...greedy, "--decoder-ids", begun, "--json"])).out);
  expect(rest.slice(0, 14)).toEqual(ids.slice(2));
  expect((await run(["generate", "--model", model, "--ids", "[[1]]"])).errors).toMatch(
    /^heddle: logits: a whisper model hears frames of sound, \[B, 8, 32\], and reads no ids; got no frames/,
  );
});

test("an answer a row of ids, its padding left out", async () => {
  const model = join(goldens, "llama");
  const golden = readGoldenArrays(pathToFileURL(join(model, "expected.safetensors")));
  const rows = (name: string) => {
    const { shape, data } = golden.get(name);
    const width = shape[1] ?? 1;
    return Array.from({ length: shape[0] ?? 1 }, (_, row) => [
      ...data.subarray(row * width, (row + 1) * width),
    ]);
  };
  const ids = ["--ids", JSON.stringify(rows("leftpad.input_ids"))];
  const mask = ["--attention-mask", JSON.stringify(rows("leftpad.attention_mask"))];
  const options = ["--max-tokens", "8", "--temperature", "0", "--ignore-eos", "--json"];
  const { out } = await run(["generate", "--model", model, ...ids, ...mask, ...options]);
  const answers = out
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line).ids);
  expect(answers).toEqual(rows("leftpad.greedy_ids"));
});

test.each(Object.entries(madeConfigs))(
  "%s generates from a directory what it gives when run again",
  async (_, json) => {
    const model = path(`made-${json.model_type}-${json.num_attention_heads}`);
    mkdirSync(model, { recursive: true });
    const files = await madeFiles({ ...json });
    for (const [name, bytes] of Object.entries(files)) writeFileSync(join(model, name), bytes);
    const prompt = [3, 17, 5, 8];
    const options = ["--max-tokens", "6", "--temperature", "0", "--ignore-eos", "--json"];
    const { code, out, errors } = await run([
      "generate",
      "--model",
      model,
      "--ids",
      JSON.stringify([prompt]),
      ...options,
    ]);
    expect({ code, errors }).toEqual({ code: 0, errors: "" });
    const device = reference();
    const loaded = await loadAnyModel(directorySource(model), { device });
    const text = [...prompt];
    for (const id of JSON.parse(out).ids as number[]) {
      using logits = loaded.logits({ ids: [text] });
      const last = (await logits.data()).slice(-(logits.shape.at(-1) ?? 1));
      expect(last.indexOf(Math.max(...last))).toBe(id);
      text.push(id);
    }
    expect(text.length).toBe(prompt.length + 6);
    loaded.dispose();
    expect(device.memory().buffers).toBe(0);
  },
);
