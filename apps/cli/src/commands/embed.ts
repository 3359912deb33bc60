import { embedTexts, type Pooling } from "@heddle/models";
import { type Command, Option } from "commander";
import { type InputOptions, tokensIn } from "../model-inputs.js";
import { openAnyNamedModel } from "../named-model.js";
import { addModelOptions, collect, createDevice, type ModelOptions, parseRows } from "../options.js";
import { linesOf, type Terminal } from "../terminal.js";

interface EmbedOptions extends ModelOptions, Pick<InputOptions, "ids" | "attentionMask"> {
  readonly model: string;
  readonly text?: string[];
  readonly pooling?: Pooling;
  readonly normalize: boolean;
  readonly prompt?: string;
}

export function addEmbed(program: Command, terminal: Terminal): void {
  const command = program
    .command("embed")
    .description('Turn texts into vectors, a JSON line {"embedding":[..]} each.')
    .requiredOption("--model <directory>", "a Hugging Face model directory, of an encoder as a rule")
    .option("--text <text>", "a text; may be repeated (default: every line of stdin is one)", collect)
    .option("--ids <json>", "token ids in the place of texts, rows of one length: [[1, 2, 3]]", parseRows)
    .option("--attention-mask <json>", "1 for tokens, 0 for padding, in the form of the ids", parseRows)
    .addOption(
      new Option(
        "--pooling <kind>",
        "how one vector is made of a text's tokens (default: what the directory's modules.json says, or mean)",
      ).choices(["mean", "first", "last", "max", "mean-sqrt", "weighted-mean"]),
    )
    .option("--prompt <name>", "what the texts are for: a prompt of the model, such as query")
    .option("--no-normalize", "leave vectors at their own length instead of 1")
    .option("--json", "accepted for uniformity: output is always JSON lines");
  addModelOptions(command).action(async (options: EmbedOptions) => {
    const device = await createDevice(options);
    try {
      const model = await openAnyNamedModel(options.model, {
        device,
        terminal,
        packedCache: options.packedCache,
      });
      const texts = await textsOf(options, terminal);
      const settings = {
        ...(options.pooling === undefined ? {} : { pooling: options.pooling }),
        ...(options.prompt === undefined ? {} : { prompt: options.prompt }),
        ...(options.normalize ? {} : { isNormalized: false }),
      };
      for (const vector of await embedTexts(model, texts, settings))
        await terminal.print(`${JSON.stringify({ embedding: [...vector] })}\n`);
    } finally {
      device.dispose();
    }
  });
}

/** Rows of ids without their padding, or texts. */
async function textsOf(
  options: EmbedOptions,
  terminal: Terminal,
): Promise<readonly (string | readonly number[])[]> {
  if (options.ids !== undefined) return tokensIn(options.ids, options.attentionMask);
  return options.text ?? allOf(linesOf(terminal.input));
}

async function allOf(lines: AsyncIterable<string>): Promise<string[]> {
  const all: string[] = [];
  for await (const line of lines) all.push(line);
  return all;
}
