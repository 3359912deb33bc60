import { randomBytes } from "node:crypto";
import { mkdir, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { type Device, HeddleError, type Tensor } from "@heddle/tensor";
import { writeText } from "../file-sink.js";
import { readJson, readText } from "../file-source.js";
import { loadTensors } from "../load-tensors.js";
import { openSafetensors } from "../safetensors.js";
import { saveTensors } from "../save-tensors.js";
import { namedTensors, treeFromNamed } from "../tree-tensors.js";
import { directorySink, directorySource, flushDirectory } from "./directory.js";
import { checkJson, type Json } from "./json-state.js";

/** What a training run needs to go on as if it had not stopped. */
export interface CheckpointContent {
  /** Steps done so far. */
  readonly step: number;
  /** Trees of tensors by name: weights, optimiser state, random keys. Each becomes one safetensors file. */
  readonly trees: Readonly<Record<string, unknown>>;
  /** Plain values: schedule, data position, configuration. */
  readonly state: Json;
}

/** A checkpoint on disk; its tensors are read when they are asked for. */
export interface SavedCheckpoint {
  readonly path: string;
  readonly step: number;
  readonly state: Json;
  /** Loads a tree of the form of `like`, every value bit for bit as it was saved. The caller disposes it. */
  loadTree<Whole>(name: string, like: Whole, device: Device): Promise<Whole>;
  /** Loads the tensors of a tree by their paths. The caller disposes them. */
  loadNamed(name: string, device: Device): Promise<Record<string, Tensor>>;
}

const stateFile = "state.json";
const latestFile = "latest";
const finishedName = /^step-(\d+)(?:\.(\d+))?$/;
const unfinishedPrefix = ".unfinished-";

/**
 * Saves a checkpoint below `directory` so that a crash at any moment leaves the one before usable.
 *
 * Everything is written into a hidden folder and flushed to the disk; the folder is renamed to `step-NNNNNNNN`; the file
 * `latest` is switched to it last. Folders that a killed run left behind are removed. One writer at a time.
 * @param options.keepLast  how many checkpoints to keep, this one included; default: all
 * @returns the path of the new checkpoint
 */
export async function saveCheckpoint(
  directory: string,
  content: CheckpointContent,
  { keepLast = Number.POSITIVE_INFINITY }: { readonly keepLast?: number } = {},
): Promise<string> {
  checkContent(content, keepLast);
  await mkdir(directory, { recursive: true });
  await removeUnfinished(directory);
  const temporary = join(directory, unfinishedPrefix + randomBytes(6).toString("hex"));
  const name = await freeName(directory, content.step);
  try {
    await writeContent(temporary, content);
    await rename(temporary, join(directory, name));
  } catch (error) {
    await rm(temporary, { recursive: true, force: true });
    throw error;
  }
  await flushDirectory(directory);
  await writeText(directorySink(directory), latestFile, `${name}\n`);
  await prune(directory, keepLast);
  return join(directory, name);
}

/**
 * Opens a checkpoint that `saveCheckpoint` wrote.
 *
 * @param options.step  which one; default: the one that `latest` names
 * @throws HeddleError "format" where there is none, or where it was damaged later
 */
export async function openCheckpoint(
  directory: string,
  { step }: { readonly step?: number } = {},
): Promise<SavedCheckpoint> {
  const saved = await listCheckpoints(directory);
  const wanted =
    step === undefined
      ? await latestName(directory, saved)
      : saved.findLast((one) => one.step === step)?.name;
  const found = saved.find((one) => one.name === wanted);
  if (found === undefined) throw noCheckpoint(directory, step === undefined ? wanted : `step ${step}`, saved);
  const path = join(directory, found.name);
  const source = directorySource(path);
  const { state } = parseState(await readJson(source, stateFile), path);
  const loadNamed = async (name: string, device: Device) =>
    loadTensors(await openSafetensors(source, { base: name }), { device, dtype: "stored" });
  return {
    path,
    step: found.step,
    state,
    loadNamed,
    loadTree: async (name, like, device) => {
      const named = await loadNamed(name, device);
      try {
        return treeFromNamed(like, named);
      } catch (error) {
        for (const tensor of Object.values(named)) tensor.dispose();
        throw error;
      }
    },
  };
}

/** Lists the finished checkpoints of a directory, oldest first. */
export async function listCheckpoints(
  directory: string,
): Promise<readonly { readonly name: string; readonly step: number }[]> {
  const names = await readdir(directory).catch(() => []);
  const parsed = names.flatMap((name) => {
    const match = finishedName.exec(name);
    return match === null ? [] : [{ name, step: Number(match[1]), again: Number(match[2] ?? 0) }];
  });
  return parsed
    .sort((a, b) => a.step - b.step || a.again - b.again)
    .map(({ name, step }) => ({ name, step }));
}

async function writeContent(path: string, { step, trees, state }: CheckpointContent): Promise<void> {
  const sink = directorySink(path);
  for (const [name, tree] of Object.entries(trees)) {
    await saveTensors(sink, namedTensors(tree), { base: name, metadata: { format: "heddle" } });
  }
  await writeText(
    sink,
    stateFile,
    `${JSON.stringify({ version: 1, step, trees: Object.keys(trees), state }, null, 1)}\n`,
  );
}

function checkContent({ step, trees, state }: CheckpointContent, keepLast: number): void {
  if (!Number.isSafeInteger(step) || step < 0) {
    const message = `saveCheckpoint: step must be a whole number >= 0; got ${step}. Pass the number of steps done.`;
    throw new HeddleError("config", message, { step });
  }
  if (!(keepLast >= 1)) {
    const message = `saveCheckpoint: keepLast must be at least 1; got ${keepLast}. Leave it out to keep all.`;
    throw new HeddleError("config", message, { keepLast });
  }
  const odd = Object.keys(trees).find((name) => !/^[\w-]+$/.test(name));
  if (odd !== undefined) {
    const message = `saveCheckpoint: names of trees must be letters, digits, - and _; got "${odd}". Rename the tree.`;
    throw new HeddleError("config", message, { name: odd });
  }
  checkJson(state);
}

/** A name that no checkpoint has: saving a step again must not touch the checkpoint that `latest` may name. */
async function freeName(directory: string, step: number): Promise<string> {
  const taken = new Set(await readdir(directory));
  const base = `step-${String(step).padStart(8, "0")}`;
  let name = base;
  for (let again = 1; taken.has(name); again++) name = `${base}.${again}`;
  return name;
}

/** The name in `latest`; where a crash came before its first writing, the newest finished checkpoint. */
async function latestName(
  directory: string,
  saved: readonly { readonly name: string }[],
): Promise<string | undefined> {
  const source = directorySource(directory);
  if (!source.list().includes(latestFile)) return saved.at(-1)?.name;
  return (await readText(source, latestFile)).trim();
}

async function removeUnfinished(directory: string): Promise<void> {
  for (const name of await readdir(directory)) {
    if (name.startsWith(unfinishedPrefix)) await rm(join(directory, name), { recursive: true, force: true });
  }
}

/** Removes all but the newest `keepLast`; each is first renamed, so that a half removed one is never listed. */
async function prune(directory: string, keepLast: number): Promise<void> {
  const saved = await listCheckpoints(directory);
  const current = await latestName(directory, saved);
  const older = saved.filter(({ name }) => name !== current);
  for (const { name } of older.slice(0, Math.max(0, saved.length - keepLast))) {
    const doomed = join(directory, `${unfinishedPrefix}${name}`);
    await rename(join(directory, name), doomed);
    await rm(doomed, { recursive: true, force: true });
  }
}

function parseState(json: unknown, path: string): { readonly state: Json } {
  if (
    typeof json === "object" &&
    json !== null &&
    "version" in json &&
    json.version === 1 &&
    "state" in json
  ) {
    return { state: json.state as Json };
  }
  const message = `openCheckpoint: ${stateFile} must be of version 1; got another in "${path}". Resume with the release that wrote it.`;
  throw new HeddleError("format", message, { path });
}

function noCheckpoint(
  directory: string,
  wanted: string | undefined,
  saved: readonly { readonly name: string }[],
): HeddleError {
  const names = saved.map(({ name }) => name);
  const message = `openCheckpoint: the directory must hold the checkpoint asked for (${wanted ?? "any"}); got "${directory}" with ${names.join(", ") || "none"}. Check the path, or name one of these steps.`;
  return new HeddleError("format", message, { directory, wanted, saved: names });
}
