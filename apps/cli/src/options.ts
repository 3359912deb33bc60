import { readFileSync } from "node:fs";
import { dawnToggles, webgpu } from "@heddle/gpu";
import { cpu, type Device, reference } from "@heddle/tensor";
import { type Command, InvalidArgumentError, Option } from "commander";

/** Where a command can compute. */
export const deviceNames = ["cpu", "webgpu", "reference"] as const;

/** Options of every command that computes. */
export interface DeviceOptions {
  readonly device: (typeof deviceNames)[number];
  readonly threads?: number;
  readonly dawnToggles?: keyof typeof dawnToggles;
}

/** Options of every command that loads a model and computes with it. */
export interface ModelOptions extends DeviceOptions {
  readonly packedCache?: string;
}

/** Options of every command with results for machines and long work. */
export interface OutputOptions {
  readonly json?: boolean;
  readonly progress?: boolean;
}

export function addDeviceOptions(command: Command): Command {
  return command
    .addOption(new Option("--device <name>", "where to compute").choices(deviceNames).default("cpu"))
    .option("--threads <n>", "threads of the cpu device (default: every core, at most 16)", parseCount)
    .addOption(
      new Option(
        "--dawn-toggles <set>",
        "of the webgpu device: half = f16 and subgroup matrices on NVIDIA, fast = without bounds checks, too",
      ).choices(Object.keys(dawnToggles)),
    );
}

/** Those of `addDeviceOptions`, and how a model is loaded. */
export function addModelOptions(command: Command): Command {
  return addDeviceOptions(command).option(
    "--packed-cache <folder>",
    "keep the packed weights of GGUF files there, about as large as they are, and load from it the next time",
  );
}

export function addOutputOptions(command: Command): Command {
  return command
    .option("--json", "print results as JSON")
    .option("--progress", "show progress on stderr also where it is not a terminal");
}

/** Makes the device that the options name; the caller disposes it. */
export async function createDevice(options: DeviceOptions): Promise<Device> {
  const { device, threads } = options;
  switch (device) {
    case "cpu":
      return cpu(threads === undefined ? {} : { threads });
    case "webgpu":
      return webgpu(options.dawnToggles === undefined ? {} : { toggles: dawnToggles[options.dawnToggles] });
    case "reference":
      return reference();
    default:
      return device satisfies never;
  }
}

/** A whole number >= 1. */
export function parseCount(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1)
    throw new InvalidArgumentError(`It must be a whole number >= 1.`);
  return value;
}

/** A whole number >= 0. */
export function parseWhole(text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !Number.isSafeInteger(value) || value < 0)
    throw new InvalidArgumentError("It must be a whole number >= 0.");
  return value;
}

export function parseNumber(text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !Number.isFinite(value)) throw new InvalidArgumentError("It must be a number.");
  return value;
}

/** Rows of whole numbers, as JSON: `[[1, 2], [3, 4]]`. */
export function parseRows(text: string): number[][] {
  const rows = parseJson(text);
  const isRow = (row: unknown): row is number[] =>
    Array.isArray(row) && row.every((id) => Number.isSafeInteger(id));
  if (!Array.isArray(rows) || rows.length === 0 || !rows.every(isRow))
    throw new InvalidArgumentError('It must be rows of whole numbers as JSON, such as "[[1, 2, 3]]".');
  return rows;
}

/** Ids, as JSON: `[4, 9]`. */
export function parseIds(text: string): number[] {
  const ids = parseJson(text);
  if (!Array.isArray(ids) || !ids.every((id) => Number.isSafeInteger(id)))
    throw new InvalidArgumentError('It must be whole numbers as JSON, such as "[4, 9]".');
  return ids;
}

/** Adds one more value to an option that may be repeated. */
export function collect(value: string, values: readonly string[] = []): string[] {
  return [...values, value];
}

export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new InvalidArgumentError("It must be JSON.");
  }
}

/** The version of this program. */
export function readVersion(): string {
  const manifest = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as {
    version: string;
  };
  return manifest.version;
}
