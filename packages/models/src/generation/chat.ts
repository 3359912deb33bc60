import { HeddleError } from "@heddle/tensor";
import { Template } from "@huggingface/jinja";

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
