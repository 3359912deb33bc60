import {
  type AnyModel,
  beamSearch,
  type GenerateOptions,
  generate,
  noRepeatNgram,
  type Prompt,
  renderChat,
} from "@heddle/models";
import { HeddleError } from "@heddle/tensor";
import type { Command } from "commander";
import { addInputOptions, checkIds, type InputOptions, readInputs, tokensIn } from "../model-inputs.js";
import { openAnyNamedModel } from "../named-model.js";
import {
  addModelOptions,
  collect,
  createDevice,
  type ModelOptions,
  parseNumber,
  parseWhole,
} from "../options.js";
import type { Terminal } from "../terminal.js";

/** Options that go to `generate` as they are. */
const generationNames = [
  "maxTokens",
  "temperature",
  "topK",
  "topP",
  "minP",
  "typicalP",
  "topNSigma",
  "repetitionPenalty",
  "frequencyPenalty",
  "presencePenalty",
  "minTokens",
  "seed",
  "stop",
  "ignoreEos",
] as const satisfies readonly (keyof GenerateOptions)[];

interface GenerateCommandOptions
  extends ModelOptions,
    InputOptions,
    Pick<GenerateOptions, (typeof generationNames)[number]> {
  readonly model?: string;
  readonly prompt?: string;
  readonly distinctNgrams?: number;
  readonly beams?: number;
  readonly chat?: boolean;
  readonly json?: boolean;
}

export function addGenerate(program: Command, terminal: Terminal): void {
  const command = program
    .command("generate")
    .description("Continue a prompt; the text streams to stdout, or ids where the model has no tokenizer.")
    .option("--model <path>", "a Hugging Face model directory or a GGUF file (default: the embedded model)")
    .option("--prompt <text>", "text to continue")
    .option("--max-tokens <n>", "most tokens to generate (default: as many as fit)", parseWhole)
    .option("--temperature <t>", "0 takes the likeliest token each time", parseNumber)
    .option("--top-k <k>", "choose among the k likeliest tokens; 0: all", parseWhole)
    .option("--top-p <p>", "choose among the likeliest tokens up to this probability", parseNumber)
    .option("--min-p <p>", "choose among tokens at least this many times as likely as the best", parseNumber)
    .option("--typical-p <p>", "choose among tokens of typical surprise up to this probability", parseNumber)
    .option("--top-n-sigma <n>", "choose among tokens within n deviations of the best", parseNumber)
    .option("--repetition-penalty <r>", "above 1 discourages repetition", parseNumber)
    .option("--frequency-penalty <f>", "lowers a token's score for each time it came", parseNumber)
    .option("--presence-penalty <p>", "lowers the score of tokens that came", parseNumber)
    .option("--distinct-ngrams <n>", "never repeat n tokens in a row", parseWhole)
    .option("--min-tokens <n>", "fewest tokens to generate", parseWhole)
    .option("--beams <n>", "search for the likeliest text with n beams instead of drawing", parseWhole)
    .option("--seed <n>", "same seed, same text", parseWhole)
    .option("--stop <text>", "end before this text; may be repeated", collect)
    .option("--chat", "put the prompt as the user's message into the model's chat template")
    .option("--ignore-eos", "go on after end-of-text tokens")
    .option("--json", 'print one JSON object {"text","ids","finishReason",..} for each prompt');
  addModelOptions(addInputOptions(command)).action(async (options: GenerateCommandOptions) => {
    checkPrompt(options);
    const device = await createDevice(options);
    try {
      const model = await openAnyNamedModel(options.model, {
        device,
        terminal,
        packedCache: options.packedCache,
      });
      for (const prompt of await promptsOf(model, options))
        await (options.beams === undefined ? stream : search)(model, prompt, { options, terminal });
    } finally {
      device.dispose();
    }
  });
}

/** Where an answer goes, and how it is made. */
interface Answering {
  readonly options: GenerateCommandOptions;
  readonly terminal: Terminal;
}

/** @throws HeddleError "config" unless there is one thing to continue */
function checkPrompt({ prompt, ids, inputs }: GenerateCommandOptions): void {
  if ((prompt === undefined) === (ids === undefined && inputs === undefined)) {
    const message = `generate: one thing to continue must be named; got ${prompt === undefined ? "none" : "a prompt and ids"}. Pass --prompt TEXT, or --ids or --inputs.`;
    throw new HeddleError("config", message, {});
  }
}

/** What to continue: a text, each row of ids without its padding, or each of the sounds. */
async function promptsOf(model: AnyModel, options: GenerateCommandOptions): Promise<Prompt[]> {
  const { prompt, chat } = options;
  if (prompt !== undefined) return [chat ? chatPrompt(model, prompt) : prompt];
  const { ids: rows, attentionMask, decoderIds, frames } = await readInputs(options);
  checkIds("generate", [...rows, ...(decoderIds ?? [])], model.config.vocabSize);
  if (frames === undefined) return tokensIn(rows, attentionMask);
  const [count = 0, ...shape] = frames.shape;
  const size = frames.data.length / count;
  return Array.from({ length: count }, (_, row) => ({
    frames: { data: frames.data.subarray(row * size, (row + 1) * size), shape: [1, ...shape] },
    ids: decoderIds?.[row] ?? [],
  }));
}

async function stream(model: AnyModel, prompt: Prompt, { options, terminal }: Answering): Promise<void> {
  const startedAt = performance.now();
  const ids: number[] = [];
  let text = "";
  let finishReason: string | null = null;
  const hasText = model.tokenizer !== undefined;
  for await (const token of generate(model, prompt, { ...samplingOf(options), signal: terminal.signal })) {
    ids.push(token.id);
    text += token.text;
    finishReason = token.finishReason ?? null;
    if (!options.json)
      await terminal.print(hasText ? token.text : `${ids.length === 1 ? "" : " "}${token.id}`);
  }
  const seconds = (performance.now() - startedAt) / 1000;
  const result = { ...(hasText ? { text } : {}), ids, finishReason, tokensPerSecond: ids.length / seconds };
  await terminal.print(options.json ? `${JSON.stringify(result)}\n` : "\n");
}

/** The likeliest text that a search over beams finds. */
async function search(model: AnyModel, prompt: Prompt, { options, terminal }: Answering): Promise<void> {
  const { beams, maxTokens, minTokens, distinctNgrams: size, json } = options;
  const [best] = await beamSearch(model, prompt, {
    ...(beams === undefined ? {} : { numBeams: beams }),
    ...(maxTokens === undefined ? {} : { maxTokens }),
    ...(minTokens === undefined ? {} : { minTokens }),
    ...(size === undefined ? {} : { processors: [noRepeatNgram(size)] }),
    signal: terminal.signal,
  });
  await terminal.print(json ? `${JSON.stringify(best)}\n` : `${best?.text ?? best?.ids.join(" ")}\n`);
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
  const given = generationNames.map((name) => [name, options[name]]);
  return Object.fromEntries(
    [...given, ["noRepeatNgramSize", options.distinctNgrams]].filter(([, value]) => value !== undefined),
  );
}
