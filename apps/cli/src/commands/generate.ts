import {
  type AnyModel,
  type BeamSearchOptions,
  beamSearch,
  type ContrastiveSearchOptions,
  contrastiveSearch,
  type GeneratedToken,
  type GenerateOptions,
  generate,
  type Prompt,
  renderChat,
} from "@heddle/models";
import { HeddleError } from "@heddle/tensor";
import type { Command } from "commander";
import {
  addGenerationOptions,
  type GenerationOptions,
  readGenerationOptions,
  type Way,
} from "../generation-options.js";
import { addInputOptions, checkIds, type InputOptions, readInputs, tokensIn } from "../model-inputs.js";
import { openAnyNamedModel } from "../named-model.js";
import { addModelOptions, createDevice, type ModelOptions } from "../options.js";
import type { Terminal } from "../terminal.js";

interface GenerateCommandOptions extends ModelOptions, InputOptions {
  readonly model?: string;
  readonly prompt?: string;
  readonly chat?: boolean;
  readonly json?: boolean;
}

export function addGenerate(program: Command, terminal: Terminal): void {
  const command = program
    .command("generate")
    .description("Continue a prompt; the text streams to stdout, or ids where the model has no tokenizer.")
    .option("--model <path>", "a Hugging Face model directory or a GGUF file (default: the embedded model)")
    .option("--prompt <text>", "text to continue")
    .option("--chat", "put the prompt as the user's message into the model's chat template")
    .option("--json", 'print one JSON object {"text","ids","finishReason",..} for each answer');
  addModelOptions(addInputOptions(addGenerationOptions(command)));
  command.action(async (options: GenerateCommandOptions) => {
    checkPrompt(options);
    const { way, options: choosing } = readGenerationOptions(options);
    checkLogprobs(choosing, options);
    const device = await createDevice(options);
    try {
      const model = await openAnyNamedModel(options.model, {
        device,
        terminal,
        packedCache: options.packedCache,
      });
      const answering = {
        choosing: libraryOptions(model, choosing),
        isJson: options.json === true,
        terminal,
      };
      for (const prompt of await promptsOf(model, options)) await answerers[way](model, prompt, answering);
    } finally {
      device.dispose();
    }
  });
}

/** How an answer is made, and where it goes. */
interface Answering {
  readonly choosing: LibraryOptions;
  readonly isJson: boolean;
  readonly terminal: Terminal;
}

/** Options with words as ids. */
type LibraryOptions = Omit<GenerationOptions, "badWords"> & Pick<GenerateOptions, "badWords">;

const answerers: Readonly<Record<Way, (model: AnyModel, prompt: Prompt, how: Answering) => Promise<void>>> = {
  draw: stream,
  beams: search,
  contrast,
};

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

async function stream(model: AnyModel, prompt: Prompt, how: Answering): Promise<void> {
  const { choosing, isJson, terminal } = how;
  const startedAt = performance.now();
  const tokens: GeneratedToken[] = [];
  const hasText = model.tokenizer !== undefined;
  for await (const token of generate(model, prompt, { ...choosing, signal: terminal.signal })) {
    tokens.push(token);
    if (!isJson) await terminal.print(hasText ? token.text : `${tokens.length === 1 ? "" : " "}${token.id}`);
  }
  if (!isJson) return terminal.print("\n");
  const seconds = (performance.now() - startedAt) / 1000;
  const result = {
    ...(hasText ? { text: tokens.map(({ text }) => text).join("") } : {}),
    ids: tokens.map(({ id }) => id),
    finishReason: tokens.at(-1)?.finishReason ?? null,
    ...(choosing.logprobs === undefined
      ? {}
      : { logprobs: tokens.map(({ id, logprob, top = [] }) => ({ id, logprob, top })) }),
    tokensPerSecond: tokens.length / seconds,
  };
  await terminal.print(`${JSON.stringify(result)}\n`);
}

/** The likeliest texts that a search over beams finds. */
async function search(model: AnyModel, prompt: Prompt, how: Answering): Promise<void> {
  const { signal } = how.terminal;
  for (const beam of await beamSearch(model, prompt, { ...withEnds(how.choosing), signal }))
    await printAnswer(beam, how);
}

/** A text unlike what came before. */
async function contrast(model: AnyModel, prompt: Prompt, how: Answering): Promise<void> {
  const { signal } = how.terminal;
  await printAnswer(await contrastiveSearch(model, prompt, { ...withEnds(how.choosing), signal }), how);
}

/** Searches are told which tokens end a text; `generate` whether any does. */
function withEnds({ ignoreEos, ...options }: LibraryOptions): BeamSearchOptions & ContrastiveSearchOptions {
  return ignoreEos ? { ...options, eosTokenIds: [] } : options;
}

function printAnswer(
  answer: { readonly ids: readonly number[]; readonly text?: string },
  { isJson, terminal }: Answering,
): Promise<void> {
  return terminal.print(isJson ? `${JSON.stringify(answer)}\n` : `${answer.text ?? answer.ids.join(" ")}\n`);
}

/** @throws HeddleError "config" where logprobs have no place to go */
function checkLogprobs({ logprobs }: GenerationOptions, { json }: GenerateCommandOptions): void {
  if (logprobs === undefined || json) return;
  const message = `generate: --logprobs needs --json, which prints them; got ${logprobs} without it. Add --json.`;
  throw new HeddleError("config", message, { logprobs });
}

/** Options as the library takes them: words as ids, at the start of a text and after a space. */
function libraryOptions(model: AnyModel, { badWords, ...options }: GenerationOptions): LibraryOptions {
  const { tokenizer } = model;
  const words = (badWords ?? []).flatMap((word) => {
    if (typeof word !== "string") return [word];
    if (tokenizer === undefined) {
      const message = `generate: --bad-words needs a tokenizer for texts; got "${word}" and a model without one. Write it as ids.`;
      throw new HeddleError("config", message, { word });
    }
    return [word, ` ${word}`].map((text) => [...tokenizer.encodeIds(text, { addSpecialTokens: false })]);
  });
  checkIds("generate", [...words, options.suppressTokens ?? []], model.config.vocabSize);
  return badWords === undefined ? options : { ...options, badWords: words };
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
