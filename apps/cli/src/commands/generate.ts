import { type AnyModel, type GenerateOptions, generate, renderChat } from "@heddle/models";
import { HeddleError } from "@heddle/tensor";
import type { Command } from "commander";
import { openAnyNamedModel } from "../named-model.js";
import {
  addDeviceOptions,
  collect,
  createDevice,
  type DeviceOptions,
  parseNumber,
  parseWhole,
} from "../options.js";
import type { Terminal } from "../terminal.js";

interface GenerateCommandOptions extends DeviceOptions {
  readonly model?: string;
  readonly prompt: string;
  readonly maxTokens?: number;
  readonly temperature?: number;
  readonly topK?: number;
  readonly topP?: number;
  readonly minP?: number;
  readonly repetitionPenalty?: number;
  readonly seed?: number;
  readonly stop?: string[];
  readonly chat?: boolean;
  readonly ignoreEos?: boolean;
  readonly json?: boolean;
}

export function addGenerate(program: Command, terminal: Terminal): void {
  const command = program
    .command("generate")
    .description("Continue a prompt; the text streams to stdout.")
    .option("--model <path>", "a Hugging Face model directory or a GGUF file (default: the embedded model)")
    .requiredOption("--prompt <text>", "text to continue")
    .option("--max-tokens <n>", "most tokens to generate (default: as many as fit)", parseWhole)
    .option("--temperature <t>", "0 takes the likeliest token each time", parseNumber)
    .option("--top-k <k>", "choose among the k likeliest tokens; 0: all", parseWhole)
    .option("--top-p <p>", "choose among the likeliest tokens up to this probability", parseNumber)
    .option("--min-p <p>", "choose among tokens at least this many times as likely as the best", parseNumber)
    .option("--repetition-penalty <r>", "above 1 discourages repetition", parseNumber)
    .option("--seed <n>", "same seed, same text", parseWhole)
    .option("--stop <text>", "end before this text; may be repeated", collect)
    .option("--chat", "put the prompt as the user's message into the model's chat template")
    .option("--ignore-eos", "go on after end-of-text tokens")
    .option("--json", 'print one JSON object {"text","ids","finishReason",..} at the end');
  addDeviceOptions(command).action(async (options: GenerateCommandOptions) => {
    const device = await createDevice(options);
    try {
      const model = await openAnyNamedModel(options.model, { device, terminal });
      await stream(model, options, terminal);
    } finally {
      device.dispose();
    }
  });
}

async function stream(model: AnyModel, options: GenerateCommandOptions, terminal: Terminal): Promise<void> {
  const startedAt = performance.now();
  const ids: number[] = [];
  let text = "";
  let finishReason: string | null = null;
  const prompt = options.chat ? chatPrompt(model, options.prompt) : options.prompt;
  for await (const token of generate(model, prompt, { ...samplingOf(options), signal: terminal.signal })) {
    ids.push(token.id);
    text += token.text;
    finishReason = token.finishReason ?? null;
    await terminal.print(options.json ? "" : token.text);
  }
  const seconds = (performance.now() - startedAt) / 1000;
  const result = { text, ids, finishReason, tokensPerSecond: ids.length / seconds };
  await terminal.print(options.json ? `${JSON.stringify(result)}\n` : "\n");
}

/** Ids of the rendered conversation, which holds its special tokens already. */
function chatPrompt({ chatTemplate, tokenizer }: AnyModel, content: string): Int32Array {
  if (chatTemplate === undefined || tokenizer === undefined) {
    const message =
      "generate: --chat needs a model with a chat template; got one without. Leave --chat out to continue plain text.";
    throw new HeddleError("config", message);
  }
  const nameOf = (id: number | undefined) => (id === undefined ? "" : (tokenizer.idToToken(id) ?? ""));
  const text = renderChat(chatTemplate, [{ role: "user", content }], {
    bosToken: nameOf(tokenizer.bosId),
    eosToken: nameOf(tokenizer.eosId),
  });
  return tokenizer.encodeIds(text, { addSpecialTokens: false });
}

function samplingOf(options: GenerateCommandOptions): GenerateOptions {
  const { maxTokens, temperature, topK, topP, minP, repetitionPenalty, seed, stop, ignoreEos } = options;
  const given = { maxTokens, temperature, topK, topP, minP, repetitionPenalty, seed, stop, ignoreEos };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
}
