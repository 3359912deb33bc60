import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { cpu, disposeTree, mapTree, reference, type Tensor } from "@heddle/tensor";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createBigram } from "../test/bigram.js";
import { devices } from "../test/devices.js";
import { fingerprint, smallRun } from "../test/small-run.js";
import { checkpointDirectory } from "./node/checkpoint-directory.js";
import { openLossLog } from "./node/loss-log.js";
import { train } from "./train.js";
import type { TrainingEvent } from "./training-events.js";

const place = { directory: "" };
beforeEach(() => {
  place.directory = mkdtempSync(join(tmpdir(), "heddle-train-"));
});
afterEach(() => rmSync(place.directory, { recursive: true }));

describe.each(devices)("on %s", (_, makeDevice) => {
  test("learns, tells how, and leaves no tensor behind", async () => {
    const device = makeDevice();
    const events: TrainingEvent[] = [];
    const options = smallRun(device, 30);
    const { buffers } = device.memory();
    const result = await train({ ...options, onEvent: (event) => events.push(event) });
    expect(device.memory().buffers).toBe(buffers);
    const steps = events.filter((event) => event.kind === "step");
    expect(steps.map(({ step }) => step)).toEqual(Array.from({ length: 30 }, (__, at) => at + 1));
    expect(steps[0]?.learningRate).toBe(0);
    expect(steps[29]?.tokens).toBe(30 * 2 * 4 * 24);
    expect(result.loss).toBeLessThan((steps[0]?.loss ?? 0) - 1);
    const evaluations = events.filter((event) => event.kind === "evaluation");
    expect(evaluations.map(({ step }) => step)).toEqual([10, 20, 30]);
    expect(result.evaluation?.perplexity).toBe(evaluations[2]?.perplexity);
    expect(Math.log(evaluations[2]?.perplexity ?? 0)).toBeCloseTo(evaluations[2]?.loss ?? 0, 9);
    expect(evaluations[2]?.loss).toBeLessThan(evaluations[0]?.loss ?? 0);
    device.dispose();
  });

  test("N steps, a stop and N more give the bits of 2 N steps", async () => {
    const device = makeDevice();
    const whole = smallRun(device, 24);
    const wholeLog: TrainingEvent[] = [];
    await train({ ...whole, onEvent: (event) => wholeLog.push(event) });
    const checkpoints = checkpointDirectory(place.directory);
    const first = smallRun(device, 12);
    await train({ ...first, checkpoints: { every: 5, save: checkpoints.save } });
    const second = { ...smallRun(device, 24), weights: createBigram(device, 77) };
    const resume = await checkpoints.latest();
    expect(resume?.step).toBe(12);
    const secondLog: TrainingEvent[] = [];
    await train({ ...second, ...(resume && { resume }), onEvent: (event) => secondLog.push(event) });
    expect(fingerprint(second.weights)).toBe(fingerprint(whole.weights));
    const facts = (log: TrainingEvent[]) =>
      log.flatMap((event) =>
        event.kind === "step" ? [[event.step, event.loss, event.gradNorm, event.tokens]] : [],
      );
    expect(facts(secondLog)).toEqual(facts(wholeLog).slice(12));
    device.dispose();
  });

  test("compiled and eager runs agree", async () => {
    const device = makeDevice();
    const [compiled, eager] = [smallRun(device, 8), smallRun(device, 8)];
    const one = await train(compiled);
    const two = await train({ ...eager, isCompiled: false });
    expect(Math.abs(one.loss - two.loss)).toBeLessThan(1e-5);
    device.dispose();
  });
});

test("losses that are not due are not read back", async () => {
  const device = reference();
  const steps: number[] = [];
  const options = { ...smallRun(device, 10), evaluation: undefined };
  const { evaluation: __, ...rest } = options;
  await train({ ...rest, logEvery: 4, onEvent: ({ step }) => steps.push(step) });
  expect(steps).toEqual([4, 8, 10]);
});

test("an abort saves the state, throws the reason, and the run goes on from there", async () => {
  const device = reference();
  const checkpoints = checkpointDirectory(place.directory);
  const abort = new AbortController();
  const options = smallRun(device, 20);
  const run = train({
    ...options,
    checkpoints: { every: 100, save: checkpoints.save },
    signal: abort.signal,
    onEvent: (event) => {
      if (event.step === 7) abort.abort(new Error("enough"));
    },
  });
  await expect(run).rejects.toThrow("enough");
  const resume = await checkpoints.latest();
  expect(resume?.step).toBe(7);
  const rest = smallRun(device, 20);
  await train({ ...rest, ...(resume && { resume }) });
  const whole = smallRun(device, 20);
  await train(whole);
  expect(fingerprint(rest.weights)).toBe(fingerprint(whole.weights));
});

test("timers and signals are heard between steps, although nothing here waits for the disk", async () => {
  const device = reference();
  const options = smallRun(device, 1_000_000);
  const { evaluation: _, ...rest } = options;
  await expect(train({ ...rest, signal: AbortSignal.timeout(150) })).rejects.toThrow("timeout");
});

/** Runs the training process; kills it once it has printed `killAfter` checkpoints. */
async function runProcess(steps: number, every: number, killAfterMs?: number): Promise<string> {
  const script = fileURLToPath(new URL("../test/process/", import.meta.url));
  const child = spawn(
    process.execPath,
    [
      "--import",
      `${script}sources.mjs`,
      `${script}train-until.ts`,
      place.directory,
      String(steps),
      String(every),
    ],
    {
      stdio: ["ignore", "pipe", "pipe"],
      env: {
        ...process.env,
        NODE_OPTIONS: "--experimental-transform-types --disable-warning=ExperimentalWarning",
      },
    },
  );
  const seen = { text: "", errors: "" };
  child.stdout.on("data", (data) => {
    if (seen.text === "" && killAfterMs !== undefined) setTimeout(() => child.kill("SIGKILL"), killAfterMs);
    seen.text += data;
  });
  child.stderr.on("data", (data) => {
    seen.errors += data;
  });
  await new Promise<void>((resolve) => child.once("exit", () => resolve()));
  expect(seen.errors).toBe("");
  return seen.text;
}

test("a process killed while it saves, at random moments, goes on to the bits of one that ran through", {
  timeout: 120_000,
}, async () => {
  const device = cpu({ threads: 1 });
  const whole = smallRun(device, 40);
  await train(whole);
  const wanted = fingerprint(whole.weights).replaceAll("\n", " ");
  device.dispose();
  let kills = 0;
  for (let round = 0; round < 60; round++) {
    const text = await runProcess(40, 1, round < 4 ? 20 + Math.random() * 60 : undefined);
    const weights = /weights (.*)\n/.exec(text)?.[1];
    if (weights === undefined) {
      kills++;
      continue;
    }
    expect(weights).toBe(wanted);
    break;
  }
  expect(kills).toBeGreaterThan(0);
});

test("the log keeps what a resumed run had done, and draws it", async () => {
  const file = join(place.directory, "loss.jsonl");
  const step = (at: number): TrainingEvent => ({
    kind: "step",
    step: at,
    loss: 5 - at / 10,
    gradNorm: 1,
    learningRate: 0.1,
    tokens: at * 10,
    tokensPerSecond: 1,
  });
  const first = await openLossLog(file);
  for (let at = 1; at <= 9; at++) first.write(step(at));
  const resumed = await openLossLog(file, { resumeStep: 6 });
  resumed.write(step(7));
  expect(resumed.events().map((event) => event.step)).toEqual([1, 2, 3, 4, 5, 6, 7]);
  await resumed.draw(join(place.directory, "loss.svg"), { title: "Run" });
  expect(readFileSync(join(place.directory, "loss.svg"), "utf8")).toMatch(
    /^<svg [\s\S]*Run[\s\S]*<\/svg>\n$/,
  );
  expect((await openLossLog(file)).events()).toEqual([]);
});

describe("errors", () => {
  const messageOf = (promise: Promise<unknown>) => promise.then(String, (error: Error) => error.message);

  test("a loss that is not a number names its step, and nothing is saved", async () => {
    const device = reference();
    const checkpoints = checkpointDirectory(place.directory);
    const options = smallRun(device, 20);
    const run = train({
      ...options,
      objective: (weights, batch, context) => {
        const terms = options.objective(weights, batch, context);
        return { ...terms, total: terms.total.sub(4 * 24 * 4).log() };
      },
      schedule: { kind: "constant" },
      checkpoints: { every: 1, save: checkpoints.save },
    });
    const message = (await messageOf(run)).replaceAll(/\d+\.\d+/g, "N");
    expect(message).toMatchInlineSnapshot(
      `"train: loss and gradient must stay finite; got loss NaN, gradient norm N at step 8. Lower the learning rate, warm up longer or clip the gradient, and resume from the last checkpoint."`,
    );
    const saved = await checkpoints.latest();
    expect(saved?.step).toBe(Number(/at step (\d+)/.exec(message)?.[1]) - 1);
  });

  test("options and data that cannot work", async () => {
    const device = reference();
    const base = smallRun(device, 4);
    const finite = { ...base, data: { ...base.data, next: async () => undefined } };
    const frozen = {
      ...base,
      weights: mapTree<Tensor, typeof base.weights>(base.weights, (leaf) => leaf.cast("i32")),
    };
    expect([
      await messageOf(train({ ...base, steps: 0 })),
      await messageOf(train({ ...base, logEvery: 0.5 })),
      await messageOf(train(finite)),
      await messageOf(train(frozen)),
    ]).toMatchInlineSnapshot(`
      [
        "train: steps must be a whole number >= 1; got 0. Pass a greater one.",
        "train: logEvery must be a whole number >= 1; got 0.5. Pass a greater one.",
        "train: the data must last for all steps; got their end at step 1 of 4. Allow more epochs, or fewer steps.",
        "train: weights must hold at least one float tensor; got none. Pass the tree that the model computes with.",
      ]
    `);
  });

  test("a checkpoint of another model or another kind changes nothing", async () => {
    const device = reference();
    const checkpoints = checkpointDirectory(place.directory);
    await train({ ...smallRun(device, 2), checkpoints: { every: 9, save: checkpoints.save } });
    const resume = await checkpoints.latest();
    const other = smallRun(device, 4);
    const weights = {
      ...other.weights,
      layers: [...other.weights.layers, ...createBigram(device, 5).layers],
    };
    const before = fingerprint(weights);
    const { buffers } = device.memory();
    const refused = await messageOf(train({ ...other, weights, ...(resume && { resume }) }));
    const foreign = await messageOf(
      train({ ...other, weights, resume: { step: 1, state: {}, loadTree: async (_, like) => like } }),
    );
    expect([refused, foreign]).toMatchInlineSnapshot(`
      [
        "treeFromNamed: the tensors must fit the tree; got missing layers.1.weight f64 [97, 8]. Load with the configuration it was saved with.",
        "train: the checkpoint must be one of a training run; got another state. Resume from a folder that train wrote.",
      ]
    `);
    expect(fingerprint(weights)).toBe(before);
    expect(device.memory().buffers).toBe(buffers);
    disposeTree(weights);
  });
});
