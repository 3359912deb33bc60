import { readFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { HeddleError } from "@heddle/tensor";
import JSON5 from "json5";
import type { z } from "zod";
import type { DeviceOptions } from "../options.js";
import { type TrainingConfig, trainingConfigSchema } from "./config-schema.js";
import { knownKeys, nearestKey } from "./nearest-key.js";

/** What the command line says instead of, or besides, the file. Paths are relative to the working directory. */
export interface ConfigOverrides {
  readonly text?: readonly string[];
  readonly heldOut?: readonly string[];
  readonly output?: string;
  readonly steps?: number;
  readonly device?: DeviceOptions["device"];
  readonly threads?: number;
}

/** A configuration whose paths are absolute and whose choices are made. */
export type ResolvedConfig = TrainingConfig & { readonly output: string };

/**
 * Reads a training configuration, JSON or JSON5.
 *
 * @throws HeddleError "config" listing every problem; for an unknown key it names the nearest known one
 */
export async function readTrainingConfig(
  file: string,
  overrides: ConfigOverrides = {},
): Promise<ResolvedConfig> {
  const parsed = trainingConfigSchema.safeParse(parse(await readText(file), file));
  if (!parsed.success) throw invalid(file, parsed.error.issues.flatMap(describe));
  return resolveConfig(parsed.data, file, overrides);
}

function resolveConfig(config: TrainingConfig, file: string, overrides: ConfigOverrides): ResolvedConfig {
  const beside = (path: string) => resolve(dirname(file), path);
  const { text, tokenizer, model, steps, device, threads } = config;
  const files = overrides.text?.map((path) => resolve(path)) ?? text.files.map(beside);
  const heldOutFiles = overrides.heldOut?.map((path) => resolve(path)) ?? text.heldOutFiles.map(beside);
  const output =
    overrides.output === undefined ? config.output && beside(config.output) : resolve(overrides.output);
  const problems = [
    ...(output === undefined ? ["output is missing (or pass --output)"] : []),
    ...(files.length === 0 ? ["text.files is empty (or pass --text)"] : []),
    ...exactlyOne("model", { from: model.from, create: model.create }),
    ...(model.from === undefined
      ? exactlyOne("tokenizer", { from: tokenizer.from, train: tokenizer.train })
      : []),
    ...(model.from !== undefined && tokenizer.train !== undefined
      ? ["tokenizer.train does not fit a model that exists"]
      : []),
  ];
  if (problems.length > 0 || output === undefined) throw invalid(file, problems);
  return {
    ...config,
    output,
    text: { ...text, files, heldOutFiles },
    tokenizer: { ...tokenizer, ...(tokenizer.from === undefined ? {} : { from: beside(tokenizer.from) }) },
    model: { ...model, ...(model.from === undefined ? {} : { from: beside(model.from) }) },
    steps: overrides.steps ?? steps,
    device: overrides.device ?? device,
    ...((overrides.threads ?? threads) === undefined ? {} : { threads: overrides.threads ?? threads }),
  };
}

function exactlyOne(name: string, choices: Readonly<Record<string, unknown>>): string[] {
  const given = Object.entries(choices).filter(([, value]) => value !== undefined);
  if (given.length === 1) return [];
  return [`${name} needs exactly one of ${Object.keys(choices).join(" and ")}, got ${given.length}`];
}

function describe(issue: z.core.$ZodIssue): string[] {
  const at = issue.path.join(".");
  if (issue.code !== "unrecognized_keys") return [`${at || "the file"}: ${issue.message}`];
  const known = knownKeys(trainingConfigSchema, issue.path);
  const prefix = at === "" ? "" : `${at}.`;
  return issue.keys.map(
    (key) => `unknown key ${prefix}${key} (did you mean ${prefix}${nearestKey(key, known)}?)`,
  );
}

function invalid(file: string, problems: readonly string[]): HeddleError {
  const message = `train: ${file} must be a valid training configuration; got ${problems.join("; ")}. Mend these keys.`;
  return new HeddleError("config", message, { file, problems });
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new HeddleError(
      "format",
      `train: the configuration must be readable; got "${file}" (${why}). Check the path.`,
      { file },
      cause,
    );
  }
}

function parse(text: string, file: string): unknown {
  try {
    return JSON5.parse(text);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new HeddleError(
      "format",
      `train: the configuration must be JSON or JSON5; got "${file}" (${why}). Mend the file.`,
      { file },
      cause,
    );
  }
}
