import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { disposeTree, HeddleError, randn, reference, type Tensor, tensor } from "@heddle/tensor";
import { build } from "vite";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { contentOf } from "../../test/crash/content.js";
import { listCheckpoints, openCheckpoint, saveCheckpoint } from "./training-checkpoint.js";

const place = { directory: "" };
beforeEach(() => {
  place.directory = mkdtempSync(join(tmpdir(), "heddle-checkpoint-"));
});
afterEach(() => rmSync(place.directory, { recursive: true }));

const messageOf = (promise: Promise<unknown>) => promise.then(String, (error: Error) => error.message);
const withoutPath = (text: string) => text.replaceAll(place.directory, "DIR");

test("everything comes back bit for bit, in every dtype", async () => {
  const device = reference();
  const trees = {
    weights: {
      wide: randn(device, [3, 5], { seed: 1 }),
      odd: tensor(device, new Float32Array([Number.NaN, Number.POSITIVE_INFINITY, -0, 1e-45])),
      half: randn(device, [7], { seed: 2, dtype: "bf16" }),
    },
    optimizer: [
      { first: randn(device, [2], { seed: 3, dtype: "f32" }) },
      { key: tensor(device, new Uint32Array([1, 2 ** 32 - 1])) },
    ],
  };
  const state = { schedule: { step: 12, rate: 0.1 + 0.2 }, positions: [1, 2, 3], name: "é", none: null };
  const path = await saveCheckpoint(place.directory, { step: 12, trees, state });
  const saved = await openCheckpoint(place.directory);
  expect([saved.step, saved.path, saved.state]).toEqual([12, path, state]);
  for (const name of ["weights", "optimizer"] as const) {
    const loaded = await saved.loadTree(name, trees[name], device);
    const pairs = await bytesByPath(saved.loadNamed(name, device));
    expect(pairs).toEqual(await bytesByPath(Promise.resolve(flat(trees[name]))));
    disposeTree(loaded);
  }
});

function flat(tree: unknown, path = ""): Record<string, Tensor> {
  if (typeof tree !== "object" || tree === null) return {};
  if ("device" in tree) return { [path]: tree as Tensor };
  return Object.assign(
    {},
    ...Object.entries(tree).map(([key, child]) => flat(child, path === "" ? key : `${path}.${key}`)),
  );
}

async function bytesByPath(named: Promise<Record<string, Tensor>>): Promise<Record<string, unknown>> {
  const entries = Object.entries(await named).map(async ([path, x]) => [
    path,
    [x.dtype, x.shape, await x.bytes()],
  ]);
  return Object.fromEntries(await Promise.all(entries));
}

test("keepLast removes the oldest; a step can be asked for, and saved again", async () => {
  const device = reference();
  for (const step of [5, 10, 15])
    await saveCheckpoint(place.directory, contentOf(device, step), { keepLast: 2 });
  await saveCheckpoint(place.directory, { ...contentOf(device, 15), state: "again" });
  const names = (await listCheckpoints(place.directory)).map(({ name }) => name);
  expect(names).toEqual(["step-00000010", "step-00000015", "step-00000015.1"]);
  expect((await openCheckpoint(place.directory)).state).toBe("again");
  expect((await openCheckpoint(place.directory, { step: 10 })).state).toEqual({ position: 100 });
  await saveCheckpoint(place.directory, contentOf(device, 20), { keepLast: 1 });
  expect(readdirSync(place.directory).sort()).toEqual(["latest", "step-00000020"]);
});

test("going on from an older checkpoint makes the new one the latest", async () => {
  const device = reference();
  for (const step of [10, 20, 11])
    await saveCheckpoint(place.directory, contentOf(device, step), { keepLast: 2 });
  expect((await openCheckpoint(place.directory)).step).toBe(11);
});

describe("errors", () => {
  test("no checkpoint, not that one, or one that was removed", async () => {
    expect(withoutPath(await messageOf(openCheckpoint(place.directory)))).toMatchInlineSnapshot(
      `"openCheckpoint: the directory must hold the checkpoint asked for (any); got "DIR" with none. Check the path, or name one of these steps."`,
    );
    const path = await saveCheckpoint(place.directory, contentOf(reference(), 3));
    expect(withoutPath(await messageOf(openCheckpoint(place.directory, { step: 4 })))).toMatchInlineSnapshot(
      `"openCheckpoint: the directory must hold the checkpoint asked for (step 4); got "DIR" with step-00000003. Check the path, or name one of these steps."`,
    );
    rmSync(path, { recursive: true });
    expect(withoutPath(await messageOf(openCheckpoint(place.directory)))).toMatchInlineSnapshot(
      `"openCheckpoint: the directory must hold the checkpoint asked for (step-00000003); got "DIR" with none. Check the path, or name one of these steps."`,
    );
  });

  test("content that could not be restored is refused before anything is written", async () => {
    const save = (content: object) =>
      messageOf(saveCheckpoint(place.directory, { step: 1, trees: {}, state: null, ...content }));
    const messages = [
      await save({ step: -1 }),
      await save({ trees: { "../x": {} } }),
      await save({ state: { loss: Number.NaN } }),
      await save({ state: [new Date(0)] }),
      await messageOf(saveCheckpoint(place.directory, { step: 1, trees: {}, state: null }, { keepLast: 0 })),
    ];
    expect(messages).toMatchInlineSnapshot(`
      [
        "saveCheckpoint: step must be a whole number >= 0; got -1. Pass the number of steps done.",
        "saveCheckpoint: names of trees must be letters, digits, - and _; got "../x". Rename the tree.",
        "saveCheckpoint: state must be plain JSON values; got NaN at state.loss. Keep arrays of numbers as tensors in a tree.",
        "saveCheckpoint: state must be plain JSON values; got an object of a class at state[0]. Keep arrays of numbers as tensors in a tree.",
        "saveCheckpoint: keepLast must be at least 1; got 0. Leave it out to keep all.",
      ]
    `);
    expect(readdirSync(place.directory)).toEqual([]);
  });

  test("a failed save leaves nothing behind", async () => {
    const device = reference();
    const freed = tensor(device, [1]);
    freed.dispose();
    expect(
      await messageOf(saveCheckpoint(place.directory, { step: 1, trees: { weights: { freed } }, state: 0 })),
    ).toContain("freed");
    expect(readdirSync(place.directory)).toEqual([]);
  });

  test("a checkpoint that was damaged later gives no half loaded tree", async () => {
    const device = reference();
    const path = await saveCheckpoint(place.directory, contentOf(device, 3));
    const before = device.memory().buffers;
    const { weights } = contentOf(device, 3).trees;
    const saved = await openCheckpoint(place.directory);
    await expect(saved.loadTree("weights", { other: weights }, device)).rejects.toThrow(
      "missing other.layers.0.scale",
    );
    truncateSync(join(path, "weights.safetensors"), 1000);
    await expect(saved.loadTree("weights", weights, device)).rejects.toThrow(
      "a tensor must lie inside its file",
    );
    disposeTree(weights);
    expect(device.memory().buffers).toBe(before + 1); // the optimiser tensor of the second content
    writeFileSync(join(path, "state.json"), "{");
    const error = await openCheckpoint(place.directory).catch((thrown: unknown) => thrown);
    expect(HeddleError.is(error) && error.code).toBe("format");
  });
});

/** The saving program with all that it imports, as one file that plain Node runs. */
async function bundleSaveLoop(): Promise<string> {
  const packages = new URL("../../../", import.meta.url).pathname;
  const outDir = join(place.directory, "program");
  await build({
    configFile: false,
    logLevel: "error",
    resolve: { alias: [{ find: /^@heddle\/([^/]+)$/, replacement: `${packages}$1/src/index.ts` }] },
    ssr: { noExternal: true },
    build: {
      ssr: `${packages}checkpoints/test/crash/save-loop.ts`,
      outDir,
      rolldownOptions: { output: { entryFileNames: "save-loop.mjs" } },
    },
  });
  return outDir;
}

/** Runs the saving process, kills it after a while, and gives the last step that it called safe. */
async function saveAndKill(program: string, firstStep: number, afterMs: number): Promise<number> {
  const child = spawn(
    process.execPath,
    [join(program, "save-loop.mjs"), place.directory, String(firstStep)],
    {
      stdio: ["ignore", "pipe", "pipe"],
    },
  );
  const seen = { text: "", errors: "" };
  const first = new Promise<void>((resolve) => child.stdout.once("data", () => resolve()));
  child.stdout.on("data", (data) => {
    seen.text += data;
  });
  child.stderr.on("data", (data) => {
    seen.errors += data;
  });
  const exit = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  await Promise.race([first, exit]);
  await new Promise((resolve) => setTimeout(resolve, afterMs));
  child.kill("SIGKILL");
  await exit;
  expect(seen.errors).toBe("");
  return Number(seen.text.trim().split("\n").at(-1));
}

test("a process killed at any moment of a save leaves the last checkpoint usable", {
  timeout: 120_000,
}, async () => {
  const device = reference();
  const program = await bundleSaveLoop();
  let next = 1;
  let leftovers = 0;
  for (let round = 0; round < 20; round++) {
    const safe = await saveAndKill(program, next, Math.random() * 60);
    leftovers += readdirSync(place.directory).some((name) => name.startsWith(".unfinished-")) ? 1 : 0;
    const saved = await openCheckpoint(place.directory);
    // The step after the one reported may have been finished, too.
    expect([safe, safe + 1]).toContain(saved.step);
    const expected = contentOf(device, saved.step);
    for (const [name, tree] of Object.entries(expected.trees)) {
      const loaded = await saved.loadTree(name, tree, device);
      expect(await bytesByPath(Promise.resolve(flat(loaded)))).toEqual(
        await bytesByPath(Promise.resolve(flat(tree))),
      );
      disposeTree([loaded, tree]);
    }
    expect(saved.state).toEqual(expected.state);
    expect(readFileSync(join(place.directory, "latest"), "utf8").trim()).toBe(saved.path.split("/").at(-1));
    next = saved.step + 1;
  }
  // The kills did hit saves under way.
  expect(leftovers).toBeGreaterThan(5);
});
