import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, type ModelDescription, parseModelConfig } from "@heddle/models";
import { HeddleError } from "@heddle/tensor";
import type { Command } from "commander";
import type { Terminal } from "../terminal.js";

interface DescribeOptions {
  readonly model?: string;
  readonly config?: string;
  readonly json?: boolean;
}

export function addDescribe(program: Command, terminal: Terminal): void {
  program
    .command("describe")
    .description(
      "Tell parameters, memory and costs of a model from its config.json, without loading weights.",
    )
    .option("--model <directory>", "a Hugging Face model directory")
    .option("--config <file>", "a config.json alone")
    .option("--json", "print results as JSON")
    .action(async ({ model, config, json }: DescribeOptions) => {
      if ((model === undefined) === (config === undefined)) {
        const message = `describe: one of --model and --config must be given; got ${model === undefined ? "neither" : "both"}. Name a directory or a file.`;
        throw new HeddleError("config", message, {});
      }
      const description = describe(
        parseModelConfig(await readConfig(config ?? join(model ?? "", "config.json"))),
      );
      await terminal.print(json ? `${JSON.stringify(description)}\n` : table(description));
    });
}

async function readConfig(file: string): Promise<unknown> {
  const text = await readFile(file, "utf8").catch((cause: unknown) => {
    const message = `describe: the configuration must be readable; got "${file}". Check the path.`;
    throw new HeddleError("format", message, { file }, cause);
  });
  try {
    return JSON.parse(text);
  } catch (cause) {
    const message = `describe: the configuration must be JSON; got "${file}". Mend the file.`;
    throw new HeddleError("format", message, { file }, cause);
  }
}

function table(description: ModelDescription): string {
  const { family, architecture, parameters, activeParameters, weightBytes } = description;
  const { kvBytesPerToken, flopsPerToken, attentionFlopsPerPosition } = description;
  const memory = Object.entries(weightBytes).map(([dtype, bytes]) => `${dtype} ${inUnits(bytes, "B")}`);
  const rows: Record<string, string | false | undefined> = {
    family: `${family} (${architecture})`,
    parameters: parameters.toLocaleString("en-US"),
    "active for a token":
      activeParameters !== undefined &&
      activeParameters !== parameters &&
      activeParameters.toLocaleString("en-US"),
    weights: memory.join(", "),
    "keys and values": kvBytesPerToken ? `${inUnits(kvBytesPerToken, "B")} a token (f16)` : undefined,
    operations: flopsPerToken ? `${inUnits(flopsPerToken, "FLOP")} a token` : undefined,
    attention: attentionFlopsPerPosition
      ? `${inUnits(attentionFlopsPerPosition, "FLOP")} for each position that a token sees`
      : undefined,
  };
  return Object.entries(rows)
    .filter(([, value]) => value)
    .map(([name, value]) => `${name.padEnd(20)}${value}\n`)
    .join("");
}

/** With a decimal prefix and three digits. */
function inUnits(value: number, unit: string): string {
  const prefixes = ["", "k", "M", "G", "T", "P"];
  const power = Math.min(Math.floor(Math.log10(value) / 3), prefixes.length - 1);
  return `${Number((value / 1000 ** power).toPrecision(3))} ${prefixes[power]}${unit}`;
}
