import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { buildCli, type Cli } from "./cli.js";

const data = process.env.HEDDLE_DATA ?? "";
const stories = join(data, "models", "stories260K");
const place: { cli?: Cli; directory: string } = { directory: "" };

const run = async (args: readonly string[]) => {
  if (place.cli === undefined) throw new Error("the program was not built");
  const { code, out, errors } = await place.cli.run(args);
  expect({ code, errors }).toEqual({ code: 0, errors: "" });
  return out;
};

beforeAll(async () => {
  place.cli = await buildCli();
  place.directory = mkdtempSync(join(tmpdir(), "heddle-stories-"));
});
afterAll(() => {
  place.cli?.dispose();
  rmSync(place.directory, { recursive: true, force: true });
});

test("generate gives the golden greedy text of a real model for 200 tokens", async () => {
  const page = readFileSync(join(stories, "stories260K.md"), "utf8");
  const golden = /-t 0\.0\n([\s\S]*?)\n```/.exec(page)?.[1] ?? "";
  const model = ["--model", join(stories, "hf"), "--temperature", "0", "--max-tokens", "200"];
  const out = await run(["generate", ...model, "--prompt", "", "--json"]);
  const { text, ids } = JSON.parse(out) as { text: string; ids: number[] };
  expect(ids.length).toBe(200);
  expect(text.length).toBeGreaterThan(400);
  expect(golden.startsWith(text)).toBe(true);
});

test("eval gives a real model the loss that its makers give, and another text a far higher one", async () => {
  const evaluate = async (file: string) => {
    const text = ["--text", join(data, "text", file), "--separator", "<|endoftext|>", "--max-tokens", "4000"];
    return JSON.parse(await run(["eval", "--model", join(stories, "hf"), ...text, "--json"])).loss as number;
  };
  // The model's makers give a validation loss of 1.2968.
  expect(Math.abs((await evaluate("tinystories/v2_train_head_2MiB.txt")) - 1.3)).toBeLessThan(0.15);
  expect(await evaluate("tinyshakespeare.txt")).toBeGreaterThan(3);
});

test("train makes real text more likely, from scratch", async () => {
  writeFileSync(
    join(place.directory, "train.json"),
    JSON.stringify({
      text: { separator: "<|endoftext|>", heldOut: 0.02 },
      tokenizer: { train: { vocabSize: 512 } },
      model: { create: { modelDim: 64, numLayers: 2, numHeads: 4, numKvHeads: 2, ffnDim: 172 } },
      steps: 150,
      batch: { rows: 16, seqLen: 128 },
      learningRate: 0.005,
      schedule: { kind: "cosine", warmupSteps: 20, minRatio: 0.1 },
      clipNorm: 1,
      evaluate: { every: 75, batches: 4 },
    }),
  );
  const output = join(place.directory, "run");
  const text = join(data, "text", "tinystories", "v2_train_head_2MiB.txt");
  await run(["train", "--config", join(place.directory, "train.json"), "--text", text, "--output", output]);
  const log = readFileSync(join(output, "loss.jsonl"), "utf8").trim().split("\n");
  const evaluations = log.map((line) => JSON.parse(line)).filter(({ kind }) => kind === "evaluation");
  expect(evaluations[0].perplexity).toBeLessThan(220);
  expect(evaluations[1].perplexity).toBeLessThan(evaluations[0].perplexity * 0.7);
});
