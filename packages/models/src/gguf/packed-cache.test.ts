import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type FileSource, memorySink, memorySource } from "@heddle/checkpoints";
import { cpu, type Device, HeddleError, reference } from "@heddle/tensor";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { initWeights } from "../loading/init-weights.js";
import { createModel, type LoadedModel } from "../loading/load-model.js";
import type { PackedCache, PackedCacheState } from "../loading/packed-cache.js";
import { parseConfig } from "../loading/parse-config.js";
import { openModel } from "../node/index.js";
import { loadGguf } from "./load-gguf.js";
import { type GgufWeightType, saveGguf } from "./save-gguf.js";

const device = cpu({ threads: 2 });
const folder = mkdtempSync(join(tmpdir(), "heddle-packed-"));
const cacheFolder = join(folder, "cache");
const modelFile = join(folder, "m.gguf");
afterAll(() => {
  rmSync(folder, { recursive: true });
  device.dispose();
});

async function ggufOf(type: GgufWeightType, seed = 0): Promise<Uint8Array> {
  const config = parseConfig({
    model_type: "llama",
    vocab_size: 270,
    hidden_size: 64,
    intermediate_size: 96,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    max_position_embeddings: 16,
  });
  const model = createModel({ config, device, weights: initWeights(config, device, { seed }) });
  const sink = memorySink();
  await saveGguf(sink, "m.gguf", model, { type });
  model.dispose();
  return sink.files["m.gguf"] ?? new Uint8Array();
}

const files: Record<string, Uint8Array> = {};
beforeAll(async () => {
  files.q4 = await ggufOf("Q4_0");
  files.q4Other = await ggufOf("Q4_0", 1);
  files.q8 = await ggufOf("Q8_0");
  files.f16 = await ggufOf("F16");
});
const fileOf = (name: string) => files[name] ?? new Uint8Array();

/** Logits of the model, which is disposed; nothing of it stays. */
async function logitsOf(model: LoadedModel): Promise<number[]> {
  const logits = model.logits({ ids: [[1, 2, 3, 200]] });
  const numbers = [...(await logits.data())].map(Number);
  logits.dispose();
  model.dispose();
  expect(model.device.memory().buffers).toBe(0);
  return numbers;
}

async function plainLogits(bytes: Uint8Array, on: Device = device): Promise<number[]> {
  return logitsOf(await loadGguf(memorySource({ "m.gguf": bytes }), "m.gguf", { device: on }));
}

/** A cache in memory that tells what became of it. */
function memoryCache(sink = memorySink()) {
  const states: PackedCacheState[] = [];
  const lazy: FileSource = {
    list: () => Object.keys(sink.files),
    size: (name) => memorySource(sink.files).size(name),
    read: (name, start, end) => memorySource(sink.files).read(name, start, end),
  };
  const cache: PackedCache = { source: lazy, sink, name: "p", onState: (state) => states.push(state) };
  return { cache, states, sink };
}

async function cachedLogits(bytes: Uint8Array, packedCache: PackedCache, on: Device = device) {
  return logitsOf(await loadGguf(memorySource({ "m.gguf": bytes }), "m.gguf", { device: on, packedCache }));
}

/** Loads from disk; gives what became of the cache and the logits. */
async function fromDisk(on: Device = device) {
  const states: PackedCacheState[] = [];
  const onPackedCache = (state: PackedCacheState) => states.push(state);
  const progress: number[] = [];
  const model = await openModel(modelFile, {
    device: on,
    packedCache: cacheFolder,
    onPackedCache,
    onProgress: ({ loadedBytes, totalBytes }) => progress.push(loadedBytes / totalBytes),
  });
  expect(progress.at(-1)).toBe(1);
  return { states, logits: await logitsOf(model) };
}

test("the first load writes the packed form, the next reads it; the numbers are those of a load without, bit for bit", async () => {
  for (const name of ["q4", "q8"]) {
    writeFileSync(modelFile, fileOf(name));
    const plain = await plainLogits(fileOf(name));
    const first = await fromDisk();
    expect(first.states[0]?.kind).toBe("written");
    expect(first.logits).toEqual(plain);
    // A device of its own: no memory holds the weights already.
    const fresh = cpu({ threads: 2 });
    expect(await fromDisk(fresh)).toEqual({ states: [{ kind: "read" }], logits: plain });
    fresh.dispose();
  }
  // One file for the model, and no temporary one.
  expect(readdirSync(cacheFolder)).toHaveLength(1);
});

test("a cache of a file that has changed since, of other options, or of another model is written anew", async () => {
  writeFileSync(modelFile, fileOf("q4"));
  await fromDisk();
  // Same size and header, other weights: only the time of change tells.
  writeFileSync(modelFile, fileOf("q4Other"));
  const { mtimeMs } = statSync(modelFile);
  utimesSync(modelFile, new Date(), new Date(mtimeMs + 1000));
  const rebuilt = { kind: "written", because: "other" };
  const logits = await plainLogits(fileOf("q4Other"));
  expect(await fromDisk()).toEqual({ states: [rebuilt], logits });
  expect(await fromDisk()).toEqual({ states: [{ kind: "read" }], logits });
  writeFileSync(modelFile, fileOf("q8"));
  expect((await fromDisk()).states).toEqual([rebuilt]);

  const { cache, states } = memoryCache();
  await cachedLogits(fileOf("q4"), cache);
  expect(await cachedLogits(fileOf("q4"), cache)).toEqual(await plainLogits(fileOf("q4")));
  await cachedLogits(fileOf("q8"), cache);
  expect(states).toEqual([{ kind: "written", because: "missing" }, { kind: "read" }, rebuilt]);
});

test("whatever the bytes of the cache file are cut to or its frame is changed to, the load is right and mends it", async () => {
  const { cache, states, sink } = memoryCache();
  const plain = await plainLogits(fileOf("q4"));
  await cachedLogits(fileOf("q4"), cache);
  const whole = sink.files.p ?? new Uint8Array();
  const isFrame = (at: number) => at < 56 || at >= whole.byteLength - 32;
  const damage = fc.oneof(
    fc.integer({ min: 0, max: whole.byteLength - 1 }).map((length) => whole.slice(0, length)),
    fc.uint8Array({ minLength: 1, maxLength: 100 }).map((more) => new Uint8Array([...whole, ...more])),
    fc.uint8Array({ maxLength: 200 }),
    fc
      .record({ at: fc.nat(whole.byteLength - 1).filter(isFrame), mask: fc.integer({ min: 1, max: 255 }) })
      .map(({ at, mask }) => whole.map((byte, i) => (i === at ? byte ^ mask : byte))),
  );
  await fc.assert(
    fc.asyncProperty(damage, async (bytes) => {
      sink.files.p = bytes;
      states.length = 0;
      expect(await cachedLogits(fileOf("q4"), cache)).toEqual(plain);
      expect(states[0]?.kind).toBe("written");
      expect(sink.files.p).toEqual(whole);
    }),
    { numRuns: 60 },
  );
});

test("a file that ends while it is read is found out, and nothing of the first try stays", async () => {
  const { cache, states } = memoryCache();
  await cachedLogits(fileOf("q4"), cache);
  const shrinking: FileSource = {
    ...cache.source,
    read: (name, start, end) =>
      cache.source.read(name, start, end - start > 5000 ? start + Math.floor((end - start) / 2) : end),
  };
  expect(await cachedLogits(fileOf("q4"), { ...cache, source: shrinking })).toEqual(
    await plainLogits(fileOf("q4")),
  );
  expect(states.at(-1)).toEqual({ kind: "written", because: "damaged" });
});

test("a device whose memory cannot be written reads the packed form, too; it is the same for all", async () => {
  const { cache, states, sink } = memoryCache();
  const slow = reference();
  const single = cpu({ threads: 1 });
  const plain = await plainLogits(fileOf("q8"), slow);
  expect(await cachedLogits(fileOf("q8"), cache, slow)).toEqual(plain);
  expect(await cachedLogits(fileOf("q8"), cache, slow)).toEqual(plain);
  expect(states.map(({ kind }) => kind)).toEqual(["written", "read"]);
  const [onReference] = [sink.files.p];
  await cachedLogits(fileOf("q8"), cache, single);
  // Norms are float64 there.
  expect(states.at(-1)).toEqual({ kind: "written", because: "other" });
  expect(sink.files.p?.byteLength).toBeLessThan(onReference?.byteLength ?? 0);
});

test("a model without quantised weights keeps no cache", async () => {
  const { cache, states, sink } = memoryCache();
  await cachedLogits(fileOf("f16"), cache);
  expect(states).toEqual([{ kind: "unneeded" }]);
  expect(sink.files).toEqual({});
});

test("a cache that cannot be written is told, and the model is loaded", async () => {
  const { cache, states } = memoryCache();
  const full = { write: async () => Promise.reject(new Error("the disk is full")) };
  expect(await cachedLogits(fileOf("q4"), { ...cache, sink: full })).toEqual(await plainLogits(fileOf("q4")));
  expect(states).toEqual([{ kind: "failed", error: new Error("the disk is full") }]);
});

test("a model that changes while it is loaded is not kept", async () => {
  const { cache, states, sink } = memoryCache();
  const plain = memorySource({ "m.gguf": fileOf("q4") });
  let time = 0;
  const source: FileSource = { ...plain, modified: async () => time++ };
  await logitsOf(await loadGguf(source, "m.gguf", { device, packedCache: cache }));
  const [state] = states;
  expect(
    state?.kind === "failed" && HeddleError.is(state.error) && state.error.message,
  ).toMatchInlineSnapshot(
    `"loadGguf: the file must stay the same while it is loaded; got one that changed, so that its packed form is not kept. Load it again."`,
  );
  expect(sink.files).toEqual({});
});

test("a load that is given up while the cache is read ends with the reason and leaves nothing", async () => {
  writeFileSync(modelFile, fileOf("q4"));
  await fromDisk();
  const before = readFileSync(join(cacheFolder, readdirSync(cacheFolder)[0] ?? ""));
  const stop = new AbortController();
  stop.abort(new Error("enough"));
  const load = openModel(modelFile, { device, packedCache: cacheFolder, signal: stop.signal });
  await expect(load).rejects.toThrow("enough");
  expect(device.memory().buffers).toBe(0);
  expect(readFileSync(join(cacheFolder, readdirSync(cacheFolder)[0] ?? ""))).toEqual(before);
});

test("loads at the same time write and read the cache side by side", async () => {
  const plain = await plainLogits(fileOf("q8"));
  for (let round = 0; round < 4; round++) {
    rmSync(cacheFolder, { recursive: true, force: true });
    const models = await Promise.all(
      Array.from({ length: 4 }, () => openModel(modelFile, { device, packedCache: cacheFolder })),
    );
    for (const model of models.slice(1)) model.dispose();
    const [first] = models;
    if (first !== undefined) await logitsOf(first);
  }
  writeFileSync(modelFile, fileOf("q8"));
  await fromDisk();
  expect((await fromDisk()).logits).toEqual(plain);
});
