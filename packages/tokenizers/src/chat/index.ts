import { Template } from "@huggingface/jinja";
import { HeddleError } from "../error.js";
import { parseJson } from "../formats/parse-json.js";
import type { Tokenizer } from "../tokenizer.js";

/** One turn of a conversation. Templates may read further keys, such as `name` or `tool_calls`. */
export interface ChatMessage {
  readonly role: string;
  readonly content: unknown;
  readonly [key: string]: unknown;
}

export interface RenderChatOptions {
  /** Text of the token that begins a sequence; templates write it as `bos_token`. */
  readonly bosToken?: string;
  readonly eosToken?: string;
  /** Ends with the start of the assistant's turn. Default true. */
  readonly addGenerationPrompt?: boolean;
  /** Further variables of the template, such as `tools`. */
  readonly variables?: Readonly<Record<string, unknown>>;
}

/**
 * Writes a conversation as the prompt that a model was trained on, by its Jinja template.
 *
 * The text holds its special tokens already: encode it without adding others.
 * @throws HeddleError "format" where the template does not parse; "config" where it refuses the messages
 */
export function renderChat(
  template: string,
  messages: readonly ChatMessage[],
  options: RenderChatOptions = {},
): string {
  const parsed = parseTemplate(template);
  try {
    return parsed.render({
      messages,
      bos_token: options.bosToken ?? "",
      eos_token: options.eosToken ?? "",
      add_generation_prompt: options.addGenerationPrompt ?? true,
      ...options.variables,
    });
  } catch (cause) {
    const roles = messages.map(({ role }) => role).join(", ");
    const message = `renderChat: the template must accept the messages; got roles ${roles || "none"}: ${reason(cause)}. Change the messages as the template asks.`;
    throw new HeddleError("config", message, { roles: messages.map(({ role }) => role) }, cause);
  }
}

/**
 * Writes a conversation as ids: by the model's template, which knows all special tokens, so that none is added.
 *
 * BOS and EOS are the tokenizer's unless the options name others.
 * @throws HeddleError as `renderChat`
 */
export function applyChatTemplate(
  tokenizer: Tokenizer,
  template: string,
  messages: readonly ChatMessage[],
  options: RenderChatOptions = {},
): Int32Array {
  const { bos = "", eos = "" } = tokenizer.config.roles ?? {};
  const text = renderChat(template, messages, { bosToken: bos, eosToken: eos, ...options });
  return tokenizer.encodeIds(text, { addSpecialTokens: false });
}

/** Where a model directory keeps its template; the caller reads the files. */
export interface ChatTemplateFiles {
  readonly "chat_template.jinja"?: string | undefined;
  readonly "tokenizer_config.json"?: string | undefined;
}

/**
 * Finds the chat template of a Hugging Face directory: `chat_template.jinja`, or in `tokenizer_config.json` a template
 * or a list of named ones.
 *
 * @param name  which of several to take; default "default"
 * @returns the Jinja source; undefined where there is none
 * @throws HeddleError "format" if tokenizer_config.json is not JSON
 */
export function readChatTemplate(files: ChatTemplateFiles, name = "default"): string | undefined {
  const { "chat_template.jinja": own, "tokenizer_config.json": settings } = files;
  if (own !== undefined || settings === undefined) return own;
  const config = parseJson("readChatTemplate", "tokenizer_config.json", settings);
  const template = isRecord(config) ? config.chat_template : undefined;
  if (typeof template === "string") return template;
  const named = Array.isArray(template) ? template.filter(isRecord) : [];
  const found = named.find((each) => each.name === name)?.template;
  return typeof found === "string" ? found : undefined;
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null;
}

function parseTemplate(template: string): Template {
  try {
    return new Template(template);
  } catch (cause) {
    const message = `renderChat: the chat template must be valid Jinja; got ${reason(cause)}. Mend the template.`;
    throw new HeddleError("format", message, {}, cause);
  }
}

function reason(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
