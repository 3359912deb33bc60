import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openSafetensors } from "@heddle/checkpoints";
import { directorySource } from "@heddle/checkpoints/node";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { buildCli, type Cli } from "./cli.js";
import { createStories } from "./stories.js";

const place: { cli?: Cli; directory: string } = { directory: "" };
const cli = (): Cli => {
  if (place.cli === undefined) throw new Error("the program was not built");
  return place.cli;
};
const run = (args: readonly string[], input?: string) => cli().run(args, input);
const path = (...parts: string[]) => join(place.directory, ...parts);

const config = {
  text: { separator: "<|endoftext|>", heldOut: 0.1 },
  tokenizer: { train: { vocabSize: 320 } },
  model: { create: { modelDim: 32, numLayers: 2, numHeads: 4, numKvHeads: 2, ffnDim: 64, maxSeqLen: 64 } },
  steps: 30,
  batch: { rows: 8, seqLen: 32, microBatches: 2 },
  learningRate: 0.02,
  schedule: { kind: "cosine", warmupSteps: 3, minRatio: 0.1 },
  dropout: 0.05,
  clipNorm: 1,
  evaluate: { every: 10, batches: 2 },
  checkpoints: { every: 10 },
  export: { dtype: "f32" },
};

/** A config file with changes, in JSON5. */
function writeConfig(name: string, changes: object = {}): string {
  writeFileSync(path(name), `// A toy.\n${JSON.stringify({ ...config, ...changes }, null, 1)}`);
  return path(name);
}

const trainArgs = (name: string, output: string) => [
  "train",
  "--config",
  path(name),
  "--text",
  path("stories.txt"),
  "--output",
  path(output),
  "--threads",
  "1",
];

beforeAll(async () => {
  place.directory = mkdtempSync(join(tmpdir(), "heddle-cli-"));
  place.cli = await buildCli();
  writeFileSync(path("stories.txt"), createStories(300));
  writeConfig("config.json5");
  const { code, out, errors } = await run(trainArgs("config.json5", "run"));
  expect({ code, errors }).toEqual({ code: 0, errors: "" });
  expect(out).toMatch(/^30 steps, loss \d\.\d+, held-out perplexity \d+\.\d+; the run is in .*run\n$/);
});
afterAll(() => {
  place.cli?.dispose();
  rmSync(place.directory, { recursive: true, force: true });
});

function events(output: string): { kind: string; step: number; loss: number; perplexity: number }[] {
  return readFileSync(path(output, "loss.jsonl"), "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
}

describe("train", () => {
  test("leaves a log, a curve, checkpoints and a model that Hugging Face's names describe", async () => {
    const log = events("run");
    expect(log.filter(({ kind }) => kind === "step").map(({ step }) => step)).toEqual(
      Array.from({ length: 30 }, (_, at) => at + 1),
    );
    const held = log.filter(({ kind }) => kind === "evaluation");
    expect(held.map(({ step }) => step)).toEqual([10, 20, 30]);
    expect(held[2]?.perplexity).toBeLessThan(20);
    expect(readFileSync(path("run", "loss.svg"), "utf8")).toContain("<svg");
    const { tensors } = await openSafetensors(directorySource(path("run", "model")));
    expect([...tensors.keys()]).toContain("model.layers.1.self_attn.q_proj.weight");
    const json = JSON.parse(readFileSync(path("run", "model", "config.json"), "utf8"));
    expect(json).toMatchObject({
      model_type: "llama",
      hidden_size: 32,
      num_key_value_heads: 2,
      torch_dtype: "float32",
    });
  });

  test("a run that was stopped by Ctrl-C goes on to the bytes of one that was not", async () => {
    // Steps slow enough to be interrupted: more rows.
    writeConfig("long.json5", { steps: 40, batch: { rows: 32, seqLen: 32 }, checkpoints: { every: 100 } });
    const { child, finished } = cli().start([...trainArgs("long.json5", "stopped"), "--json"]);
    await new Promise<void>((resolve) => {
      child.stdout?.on("data", (data) => {
        if (String(data).includes('"step":5,')) resolve();
      });
    });
    child.kill("SIGINT");
    const stopped = await finished;
    expect({ code: stopped.code, errors: stopped.errors }).toEqual({
      code: 130,
      errors: "heddle: interrupted.\n",
    });
    const resumed = await run([...trainArgs("long.json5", "stopped"), "--resume"]);
    expect({ code: resumed.code, errors: resumed.errors }).toEqual({ code: 0, errors: "" });
    const whole = await run([...trainArgs("long.json5", "whole")]);
    expect(whole.code).toBe(0);
    expect(readFileSync(path("stopped", "model", "model.safetensors"))).toEqual(
      readFileSync(path("whole", "model", "model.safetensors")),
    );
    const facts = (output: string) =>
      events(output).flatMap(({ kind, step, loss }) => (kind === "step" ? [[step, loss]] : []));
    expect(facts("stopped")).toEqual(facts("whole"));
  });

  test("goes on from a model with its own tokenizer", async () => {
    writeConfig("more.json5", {
      tokenizer: {},
      model: { from: path("run", "model") },
      steps: 3,
      learningRate: 1e-4,
      evaluate: { every: 3 },
    });
    expect(await run([...trainArgs("more.json5", "more"), "--held-out", path("stories.txt")])).toMatchObject({
      code: 0,
      errors: "",
    });
    const before = events("run").findLast(({ kind }) => kind === "evaluation")?.loss ?? 0;
    const after = events("more").findLast(({ kind }) => kind === "evaluation")?.loss ?? 9;
    expect(Math.abs(after - before)).toBeLessThan(0.5);
  });

  test("configurations that cannot be, all problems at once", async () => {
    writeConfig("bad.json5", {
      stepps: 3,
      steps: 0,
      batch: { rows: 1, seqlen: 3 },
      schedule: { kind: "cosine", warmup: 3 },
    });
    const bad = await run(trainArgs("bad.json5", "bad"));
    expect(bad.code).toBe(1);
    expect(bad.errors.replaceAll(place.directory, "DIR")).toMatchInlineSnapshot(`
      "heddle: train: DIR/bad.json5 must be a valid training configuration; got steps: Too small: expected number to be >=1; batch.seqLen: Invalid input: expected number, received undefined; unknown key batch.seqlen (did you mean batch.seqLen?); unknown key schedule.warmup (did you mean schedule.warmupSteps?); unknown key stepps (did you mean steps?). Mend these keys.
      "
    `);
    writeConfig("both.json5", { model: { from: "x", ...config.model } });
    const both = await run(trainArgs("both.json5", "bad"));
    expect(both.errors).toContain("model needs exactly one of from and create, got 2");
    const again = await run(trainArgs("config.json5", "run"));
    expect(again.errors).toContain("which holds a run. Pass --resume to go on, or another --output.");
    const none = await run([...trainArgs("config.json5", "nowhere"), "--resume"]);
    expect(none.errors).toContain("--resume needs a folder with a checkpoint");
    writeFileSync(path("broken.json5"), "{ steps: ");
    const broken = await run(trainArgs("broken.json5", "bad"));
    expect(broken.errors).toContain("the configuration must be JSON or JSON5");
  });
});

describe("tokenize", () => {
  test("lines to ids and back, from stdin, from a file, as JSON lines", async () => {
    const tokenizer = ["tokenize", "--tokenizer", path("run", "model")];
    const lines = ["Once upon a time 🐻 sat.", "", "the cat"];
    const encoded = await run(tokenizer, `${lines.join("\n")}\n`);
    expect({ code: encoded.code, errors: encoded.errors }).toEqual({ code: 0, errors: "" });
    const results = encoded.out
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as { ids: number[]; tokens: string[]; offsets: [number, number][] });
    expect(results.length).toBe(3);
    expect(results[1]).toEqual({ ids: [0], tokens: ["<|endoftext|>"], offsets: [[0, 0]] });
    const covered = results[2]?.offsets.slice(1).map(([start, end]) => "the cat".slice(start, end));
    expect(covered?.join("")).toBe("the cat");
    const decoded = await run(
      [...tokenizer, "--decode", "--skip-special-tokens"],
      results.map(({ ids }) => JSON.stringify(ids)).join("\n"),
    );
    expect(decoded.out).toBe(lines.map((text) => `${JSON.stringify({ text })}\n`).join(""));
    writeFileSync(path("texts.jsonl"), `${JSON.stringify("two\nlines 🐻.")}\n`);
    const fromFile = await run([
      ...tokenizer,
      "--jsonl",
      "--input",
      path("texts.jsonl"),
      "--no-special-tokens",
      "--offsets",
      "codepoints",
    ]);
    const { offsets } = JSON.parse(fromFile.out) as { offsets: [number, number][] };
    expect(offsets[0]?.[0]).toBe(0);
    expect(offsets.at(-1)).toEqual([11, 12]);
  });

  test("colours, for people", async () => {
    const tokenizer = ["tokenize", "--tokenizer", path("run", "model"), "--color"];
    const { code, out } = await run(tokenizer, "the cat\n");
    const [text, summary, ids] = out.split("\n");
    expect([code, text?.split("\u001b[48;5;").length]).toEqual([
      0,
      Number(/\d+(?= tokens)/.exec(summary ?? "")) + 1,
    ]);
    expect(ids).toMatch(/0( \d+)+/);
    expect((await run([...tokenizer, "--decode"], "[1]\n")).code).not.toBe(0);
  });

  test("a reader that has seen enough ends the command quietly", async () => {
    const { child, finished } = cli().start(["tokenize", "--tokenizer", path("run", "model")]);
    child.stdout?.once("data", () => child.stdout?.destroy());
    child.stdin?.on("error", () => undefined);
    for (let line = 0; line < 20_000; line++) child.stdin?.write("the cat sat on the mat\n");
    child.stdin?.end();
    const { code, errors } = await finished;
    expect({ code, errors }).toEqual({ code: 0, errors: "" });
  });

  test("lines that are not what they should be", async () => {
    const tokenizer = ["tokenize", "--tokenizer", path("run", "tokenizer", "tokenizer.json")];
    expect(await run([...tokenizer, "--decode"], "[1]\n[x]\n")).toMatchObject({
      code: 1,
      errors:
        "heddle: tokenize: every line must be a JSON array of ids; got [x] in line 2. Mend the input.\n",
    });
    expect((await run([...tokenizer, "--jsonl"], "3\n")).errors).toContain(
      "must be a JSON string; got 3 in line 1",
    );
    expect((await run([...tokenizer, "--decode"], "[99999]\n")).errors).toContain("got id 99999");
  });
});

describe("logits", () => {
  test("go to a file", async () => {
    const file = path("out", "logits.safetensors");
    const args = ["logits", "--model", path("run", "model"), "--ids", "[[1, 2, 3]]"];
    const printed = JSON.parse((await run(args)).out) as { logits: number[][][] };
    expect(await run([...args, "--out", file])).toEqual({ code: 0, out: "", errors: "" });
    const files = await openSafetensors(directorySource(path("out")), { base: "logits" });
    expect(files.tensors.get("logits")).toMatchObject({ dtype: "F32", shape: [1, 3, 320] });
    const { buffer, byteOffset, byteLength } = await files.read("logits");
    expect([...new Float32Array(buffer.slice(byteOffset, byteOffset + byteLength))]).toEqual(
      printed.logits.flat(2),
    );
  });

  test("ids and masks that do not fit", async () => {
    const args = ["logits", "--model", path("run", "model")];
    expect((await run([...args, "--ids", "[[1, 9999]]"])).errors).toContain("9999");
    expect((await run([...args, "--ids", "[[1, 2], [3]]"])).errors).toContain("rows of 2, 1");
    expect((await run([...args, "--ids", "[[1, 2]]", "--attention-mask", "[[1]]"])).errors).toContain(
      "rows of 1",
    );
    const wrongName = await run([...args, "--ids", "[[1]]", "--out", path("logits.bin")]);
    expect(wrongName).toMatchObject({ code: 1 });
    expect(wrongName.errors).toContain("End it with .safetensors.");
  });
});

describe("generate", () => {
  const base = () => ["generate", "--model", path("run", "model"), "--prompt", "Once upon a time"];

  test("streams text, the same for the same seed", async () => {
    const sample = () =>
      run([...base(), "--max-tokens", "12", "--seed", "7", "--temperature", "0.8", "--top-k", "20"]);
    const [first, second] = [await sample(), await sample()];
    expect(first).toMatchObject({ code: 0, errors: "" });
    expect(first.out).toBe(second.out);
    expect(first.out.trim().length).toBeGreaterThan(5);
    const other = await run([...base(), "--max-tokens", "12", "--seed", "8", "--temperature", "1.5"]);
    expect(other.out).not.toBe(first.out);
  });

  test("greedy answers as JSON, up to a stop text", async () => {
    const greedy = await run([...base(), "--temperature", "0", "--max-tokens", "30", "--json"]);
    const { text, ids, finishReason } = JSON.parse(greedy.out);
    expect(ids.length).toBeLessThanOrEqual(30);
    expect(["stop", "length"]).toContain(finishReason);
    const stop = text.trim().split(" ")[1];
    const stopped = await run([...base(), "--temperature", "0", "--stop", stop, "--json"]);
    expect(JSON.parse(stopped.out)).toMatchObject({
      text: text.slice(0, text.indexOf(stop)),
      finishReason: "stop",
    });
  });

  test("what the model cannot do", async () => {
    expect((await run([...base(), "--chat"])).errors).toContain("--chat needs a model with a chat template");
    const long = await run([...base().slice(0, 3), "--prompt", "cat ".repeat(100)]);
    expect(long).toMatchObject({ code: 1 });
    expect(long.errors).toContain("a prompt must leave room for an answer");
  });
});

describe("eval", () => {
  test("prints the perplexity that the model has", async () => {
    const args = [
      "eval",
      "--model",
      path("run", "model"),
      "--text",
      path("stories.txt"),
      "--max-tokens",
      "200",
    ];
    const { code, out, errors } = await run([...args, "--json"]);
    expect({ code, errors }).toEqual({ code: 0, errors: "" });
    const result = JSON.parse(out);
    expect(result).toMatchObject({ tokens: 199, window: 64, stride: 32 });
    expect(result.perplexity).toBeCloseTo(Math.exp(result.loss), 9);
    expect(result.perplexity).toBeLessThan(40);
    const text = await run([...args, "--window", "16", "--stride", "16"]);
    expect(text.out).toMatch(/^perplexity \d+\.\d{4} .*window 16, stride 16\)\n$/);
  });
});

describe("bench", () => {
  test("tells tokens a second of each work", async () => {
    const args = [
      "bench",
      "--model",
      path("run", "model"),
      "--repeats",
      "2",
      "--context",
      "16",
      "--threads",
      "1",
    ];
    const { code, out, errors } = await run([...args, "--json"]);
    expect({ code, errors }).toEqual({ code: 0, errors: "" });
    const { results, threads } = JSON.parse(out);
    expect(threads).toBe(1);
    expect(results.map(({ name }: { name: string }) => name)).toEqual(["decode", "prefill", "training"]);
    for (const { tokensPerSecond, stepMs, tokensPerStep } of results) {
      expect(tokensPerSecond).toBeCloseTo((tokensPerStep / stepMs.p50) * 1000, 6);
      expect(stepMs.p95).toBeGreaterThanOrEqual(stepMs.p50);
    }
    const text = await run([...args, "--only", "decode"]);
    expect(text.out).toMatch(/^decode +[\d.]+ tokens\/s {3}step of 1 tokens: p50 [\d.]+ ms, p95 [\d.]+ ms$/m);
  });
});

describe("serve", () => {
  test("answers as generate does, asks for the key, and ends well on SIGTERM", async () => {
    const args = ["serve", "--model", path("run", "model"), "--port", "0", "--json", "--threads", "1"];
    const { child, finished } = cli().start([...args, "--api-key", "secret", "--name", "toy"]);
    const ready = await new Promise<{ url: string; model: string }>((resolve, reject) => {
      child.stdout?.once("data", (data) => resolve(JSON.parse(String(data))));
      finished.then(({ errors }) => reject(new Error(errors)));
    });
    expect(ready.model).toBe("toy");
    const request = (headers: Record<string, string>) =>
      fetch(`${ready.url}/v1/completions`, {
        method: "POST",
        headers: { "content-type": "application/json", ...headers },
        body: JSON.stringify({ model: "toy", prompt: "Once upon a time", max_tokens: 10, temperature: 0 }),
      });
    expect((await request({})).status).toBe(401);
    const answer = (await (await request({ authorization: "Bearer secret" })).json()) as {
      choices: { text: string }[];
    };
    const generated = await run([
      ...["generate", "--model", path("run", "model"), "--prompt", "Once upon a time"],
      ...["--max-tokens", "10", "--temperature", "0", "--json"],
    ]);
    expect(answer.choices[0]?.text).toBe(JSON.parse(generated.out).text);
    const taken = await run([...args.slice(0, 3), "--port", new URL(ready.url).port]);
    expect(taken).toMatchObject({ code: 1 });
    expect(taken.errors).toContain("another program has it");
    child.kill("SIGTERM");
    const { code, errors } = await finished;
    expect({ code, errors }).toEqual({ code: 0, errors: "heddle: finishing the requests under way.\n" });
  });
});

describe("convert", () => {
  test("writes a GGUF file that gives the same text, and that tells of itself", async () => {
    const model = path("run", "model");
    const file = path("toy.gguf");
    const written = await run(["convert", "--model", model, "--type", "F32", "--output", file, "--json"]);
    expect({ code: written.code, errors: written.errors }).toEqual({ code: 0, errors: "" });
    expect(JSON.parse(written.out)).toMatchObject({ output: file, type: "F32", bytes: expect.any(Number) });
    const generate = (from: string) =>
      run([
        "generate",
        "--model",
        from,
        "--prompt",
        "The cat",
        "--temperature",
        "0",
        "--max-tokens",
        "12",
        "--threads",
        "1",
      ]);
    const [wanted, got] = [await generate(model), await generate(file)];
    expect(got).toEqual(wanted);
    const again = await run(["convert", "--model", file, "--type", "Q8_0", "--output", path("toy8.gguf")]);
    expect(again).toMatchObject({
      code: 0,
      errors: "",
      out: expect.stringMatching(/toy8\.gguf: 0\.\d MB\n$/),
    });
  });

  test("calibrates on a text", async () => {
    const model = path("run", "model");
    const convert = (name: string, ...rest: string[]) =>
      run(["convert", "--model", model, "--type", "Q4_0", "--output", path(name), "--threads", "1", ...rest]);
    const text = path("calibration.txt");
    writeFileSync(text, "The cat sat on the mat. The dog ran after the cat.\n".repeat(40));
    expect(await convert("plain4.gguf")).toMatchObject({ code: 0, errors: "" });
    const tokens = ["--calibration-tokens", "256"];
    expect(await convert("calibrated4.gguf", "--calibrate", text, ...tokens)).toMatchObject({
      code: 0,
      errors: "",
    });
    const [plain, calibrated] = [readFileSync(path("plain4.gguf")), readFileSync(path("calibrated4.gguf"))];
    expect(calibrated.byteLength).toBe(plain.byteLength);
    expect(calibrated.equals(plain)).toBe(false);
  });

  test("loads packed weights again from the folder that keeps them", async () => {
    const file = path("packed.gguf");
    await run(["convert", "--model", path("run", "model"), "--type", "Q8_0", "--output", file]);
    const args = ["logits", "--model", file, "--ids", "[[1, 2, 3]]", "--threads", "1"];
    const plain = await run(args);
    const cached = [...args, "--packed-cache", path("packed")];
    expect(await run(cached)).toEqual(plain);
    const [kept = ""] = readdirSync(path("packed"));
    expect(kept).toMatch(/^packed\.gguf-[0-9a-f]{16}\.packed$/);
    const written = statSync(path("packed", kept)).mtimeMs;
    expect(await run(cached)).toEqual(plain);
    expect(statSync(path("packed", kept)).mtimeMs).toBe(written);
    const generate = ["generate", "--model", file, "--ids", "[[1, 2, 3]]", "--temperature", "0"];
    const story = await run([...generate, "--max-tokens", "4", "--threads", "1"]);
    expect(story).toMatchObject({ code: 0, errors: "" });
    expect(
      await run([...generate, "--max-tokens", "4", "--threads", "1", "--packed-cache", path("packed")]),
    ).toEqual(story);
    const embed = ["embed", "--model", file, "--text", "the cat", "--threads", "1"];
    const vector = await run(embed);
    expect(vector).toMatchObject({ code: 0, errors: "", out: expect.stringMatching(/^\{"embedding":\[/) });
    expect(await run([...embed, "--packed-cache", path("packed")])).toEqual(vector);
    expect(statSync(path("packed", kept)).mtimeMs).toBe(written);
    // A folder that cannot be made is told of, and the result is there.
    const { code, out, errors } = await run([...args, "--packed-cache", join(file, "inside")]);
    expect({ code, out }).toEqual({ code: 0, out: plain.out });
    expect(errors).toMatch(/^the packed weights are not kept: .*ENOTDIR/);
  });

  test("refuses another ending", async () => {
    const { code, errors } = await run(["convert", "--output", path("toy.bin")]);
    expect({ code, errors }).toEqual({
      code: 1,
      errors: `heddle: convert: --output must name a GGUF file; got "${path("toy.bin")}". End it with .gguf.\n`,
    });
  });
});
